import FoundationEssentials
import Glibc
import Video

/// Jobs on disk: `<directory>/jobs/<id>/job.json`, `frames.bin`, `latents.bin`, and of pictures that came with the
/// request `input_reference.rgb`, `end_reference.rgb`, `mask.rgb`: RGB8 of the video's size, no header; of a video that
/// it extends or changes `source.bin`, the latents, or `video.rgb`, the frames one after another.
///
/// A job exists from the moment its job.json was renamed into place; a completed one had its frames and latents made durable
/// before. What can't be read is moved to `<directory>/quarantine`, never deleted and never in the way. One owner at a time.
struct JobStore {
    private struct Record: Codable {
        static let current = 1
        var version = Record.current
        var job: Job
        /// Tells whether an idempotency key comes back with the same request.
        var parameters: String?
    }

    struct Entry {
        var job: Job
        var parameters: String?
        var bytes: Int64
    }

    let directory: String
    let files: FileOperations
    private let lock: StoreLock
    private var jobs: String { directory + "/jobs" }
    private static let maximumRecord = 1 << 20
    private static let trash = ".removed-"
    private static let source = "source.bin"
    private static let video = "video.rgb"
    /// Latents of the longest videos there are.
    private static let maximumLatents = 1 << 28

    init(directory: String, files: FileOperations = FileOperations()) throws(FileError) {
        self.directory = directory
        self.files = files
        try files.makeFolder(directory)
        lock = try StoreLock(directory + "/lock")
        try files.makeFolder(directory + "/jobs")
    }

    /// Another process may have the store.
    func unlock() { lock.unlock() }

    /// Everything that is there, in the order of acceptance.
    func load(log: (JobLogEvent) -> Void) -> [Entry] {
        var found: [Entry] = []
        for name in files.names(in: jobs) {
            let folder = "\(jobs)/\(name)"
            let contents = files.names(in: folder)
            let isFolder = files.isKind(S_IFDIR, folder)
            if isFolder, name.hasPrefix(Self.trash) {
                try? files.removeFolder(folder)
                continue
            }
            // A power cut before acceptance: the client was never told that the job exists.
            if isFolder, JobIdentifier.isValid(name), contents.allSatisfy(Self.isBeforeAcceptance) {
                if (try? files.removeFolder(folder)) != nil { continue }
            }
            guard isFolder, JobIdentifier.isValid(name), let entry = read(name) else {
                quarantine(name, log: log)
                continue
            }
            for stale in contents where stale.hasSuffix(".tmp") { files.discard("\(folder)/\(stale)") }
            found.append(entry)
        }
        return found.sorted { $0.job.sequence < $1.job.sequence }
    }

    private func read(_ id: String) -> Entry? {
        guard let bytes = try? files.read("\(jobs)/\(id)/job.json", limit: Self.maximumRecord),
            let record = try? JSONDecoder().decode(Record.self, from: Data(bytes)), record.version == Record.current,
            record.job.id == id, record.job.isPlausible,
            record.job.status != .completed || files.isKind(S_IFREG, "\(jobs)/\(id)/frames.bin"),
            Self.material(of: record.job.request).allSatisfy({ files.isKind(S_IFREG, "\(jobs)/\(id)/\($0)") }),
            (record.job.request.references ?? []).allSatisfy({ files.isKind(S_IFREG, path(of: $0, in: id)) })
        else { return nil }
        return Entry(job: record.job, parameters: record.parameters, bytes: files.size(ofFolder: "\(jobs)/\(id)"))
    }

    private func quarantine(_ name: String, log: (JobLogEvent) -> Void) {
        let folder = directory + "/quarantine"
        for attempt in 0..<1000 {
            let target = "\(folder)/\(name)" + (attempt == 0 ? "" : ".\(attempt)")
            do throws(FileError) {
                try files.makeFolder(folder)
                try files.rename(folder: "\(jobs)/\(name)", to: target)
                return log(JobLogEvent(.warning, "jobs/\(name) can't be understood; it was moved to quarantine"))
            } catch {
                guard [EEXIST, ENOTEMPTY].contains(error.code) else { break }
            }
        }
        log(JobLogEvent(.warning, "jobs/\(name) can't be understood, nor moved; it is left alone"))
    }

    /// What a folder may hold whose job.json was not written yet.
    private static func isBeforeAcceptance(_ name: String) -> Bool {
        name.hasSuffix(".tmp") || [source, video].contains(name)
            || Reference.allCases.contains { name == "\($0.rawValue).rgb" }
    }

    /// Files that a request needs beside its pictures.
    private static func material(of request: VideoRequest) -> [String] {
        switch request.edit?.source {
        case .latents: [source]
        case .pictures: [video]
        case nil: request.source == nil ? [] : [source]
        }
    }

    private func path(of reference: Reference, in id: String) -> String { "\(jobs)/\(id)/\(reference.rawValue).rgb" }

    /// Makes a job and its material durable; when it throws, nothing of it is left.
    func create(_ job: Job, parameters: String?, material: VideoMaterial) throws(FileError) {
        let folder = "\(jobs)/\(job.id)"
        do throws(FileError) {
            try files.makeFolder(folder)
            for (reference, frame) in material.pictures {
                try files.replace(path(of: reference, in: job.id), with: frame.pixels)
            }
            if !material.latents.isEmpty { try files.replace("\(folder)/\(Self.source)", with: material.latents) }
            if !material.video.isEmpty {
                try files.replace("\(folder)/\(Self.video)", with: material.video.flatMap(\.pixels))
            }
            try save(job, parameters: parameters)
        } catch {
            try? files.removeFolder(folder)
            throw error
        }
    }

    /// What the job was accepted with.
    func material(of job: Job) throws(FileError) -> VideoMaterial {
        var material = VideoMaterial()
        let size = job.request.size
        for reference in job.request.references ?? [] {
            let path = path(of: reference, in: job.id)
            let bytes = try files.read(path, limit: size.pixels * 3)
            guard bytes.count == size.pixels * 3 else { throw FileError(operation: "read", path: path, code: EINVAL) }
            material.pictures[reference] = Frame(size: size, pixels: bytes)
        }
        let names = Self.material(of: job.request)
        if names.contains(Self.source) {
            material.latents = try files.read("\(jobs)/\(job.id)/\(Self.source)", limit: Self.maximumLatents)
        }
        if names.contains(Self.video) {
            let path = "\(jobs)/\(job.id)/\(Self.video)"
            let bytes = try files.read(path, limit: Self.maximumLatents)
            let each = size.pixels * 3
            guard bytes.count == (job.request.edit?.frames ?? 0) * each else {
                throw FileError(operation: "read", path: path, code: EINVAL)
            }
            material.video = stride(from: 0, to: bytes.count, by: each).map {
                Frame(size: size, pixels: Array(bytes[$0..<$0 + each]))
            }
        }
        return material
    }

    /// The clean latents of a finished video.
    func latents(of id: String) throws(FileError) -> [UInt8] {
        try files.read("\(jobs)/\(id)/latents.bin", limit: Self.maximumLatents)
    }

    func save(_ job: Job, parameters: String?) throws(FileError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let path = "\(jobs)/\(job.id)/job.json"
        guard let data = try? encoder.encode(Record(job: job, parameters: parameters)) else {
            throw FileError(operation: "encode", path: path, code: EINVAL)
        }
        // What is larger would be taken for damage at the next start.
        guard data.count <= Self.maximumRecord else {
            throw FileError(operation: "write", path: path, code: EFBIG)
        }
        try files.replace(path, with: Array(data))
    }

    /// For the frames of a video of so many.
    func frameWriter(of id: String, count: Int) -> FrameWriter {
        FrameWriter("\(jobs)/\(id)/frames.bin", count: count, files: files)
    }

    /// Looks ahead: the file system is never filled to the brim, as job.json must still be written.
    ///
    /// - Parameters:
    ///   - bytes: that are to be written.
    ///   - present: bytes of the same video that are written already.
    func checkRoom(for bytes: Int, behind present: Int, of id: String, limits: JobLimits) throws(FileError) {
        let path = "\(jobs)/\(id)"
        guard Int64(present + bytes) <= limits.storeBytes else {
            throw FileError(operation: "write", path: path, code: EDQUOT)
        }
        guard freeBytes - limits.reserveBytes >= Int64(bytes) else {
            throw FileError(operation: "write", path: path, code: ENOSPC)
        }
    }

    /// For latents, which are written in their places.
    func latentFile(of id: String) -> GrowingFile { GrowingFile("\(jobs)/\(id)/latents.bin", files: files) }

    /// Frees what a video that did not come to an end has stored.
    func discardVideo(of id: String) {
        for name in ["frames.bin", "latents.bin"] where files.isKind(S_IFREG, "\(jobs)/\(id)/\(name)") {
            files.discard("\(jobs)/\(id)/\(name)")
        }
    }

    /// The frames of `range`, or all.
    func frames(of id: String, _ range: Range<Int>? = nil) -> [[UInt8]]? {
        FrameFile.read("\(jobs)/\(id)/frames.bin", range, files: files)
    }

    /// Gone with the rename; what a power cut leaves of it is removed at the next start.
    func remove(_ id: String) throws(FileError) {
        let trash = "\(jobs)/\(Self.trash)\(id)"
        do throws(FileError) {
            try files.rename(folder: "\(jobs)/\(id)", to: trash)
        } catch {
            // Gone already, by an earlier try that failed after its rename or by hand.
            guard error.code == ENOENT else { throw error }
        }
        try? files.removeFolder(trash)
    }

    func failure(_ error: FileError) -> JobFailure {
        let free = error.isFull ? "; \(freeBytes) bytes are free" : ""
        return JobFailure(
            code: error.isFull ? "storage_full" : "storage_error",
            message: "the video could not be stored: \(error.message)\(free)")
    }

    func bytes(of id: String) -> Int64 { files.size(ofFolder: "\(jobs)/\(id)") }

    var freeBytes: Int64 { files.freeBytes(at: directory) }

    /// Seconds that finished jobs have been kept while the daemon ran; an unreadable file makes them young again.
    func loadAges() -> [String: Int64] {
        guard let bytes = try? files.read(directory + "/ages.json", limit: 16 << 20) else { return [:] }
        let ages = (try? JSONDecoder().decode([String: Int64].self, from: Data(bytes))) ?? [:]
        return ages.filter { (0..<1 << 40).contains($0.value) }
    }

    func save(ages: [String: Int64]) {
        guard let data = try? JSONEncoder().encode(ages) else { return }
        try? files.replace(directory + "/ages.json", with: Array(data))
    }
}

enum JobIdentifier {
    private static let prefix = "video_"

    static func make() -> String {
        let digits = Array("0123456789abcdef")
        return prefix + String((0..<24).map { _ in digits[Int.random(in: 0..<16)] })
    }

    static func isValid(_ text: String) -> Bool {
        text.utf8.count == prefix.utf8.count + 24 && text.hasPrefix(prefix)
            && text.utf8.dropFirst(prefix.utf8.count).allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0)
            }
    }
}
