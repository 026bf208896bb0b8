import FoundationEssentials
import Glibc

/// Jobs on disk: `<directory>/jobs/<id>/job.json`, `frames.bin`, `latents.bin`.
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
    private var jobs: String { directory + "/jobs" }
    private static let maximumRecord = 1 << 20
    private static let trash = ".removed-"

    init(directory: String, files: FileOperations = FileOperations()) throws(FileError) {
        self.directory = directory
        self.files = files
        try files.makeFolder(directory)
        try files.makeFolder(jobs)
    }

    /// Everything that is there, in the order of acceptance.
    func load(log: (JobLogEvent) -> Void) -> [Entry] {
        var found: [Entry] = []
        for name in files.names(in: jobs) {
            let folder = "\(jobs)/\(name)"
            let contents = files.names(in: folder)
            if name.hasPrefix(Self.trash) {
                try? files.removeFolder(folder)
                continue
            }
            // A power cut before acceptance: the client was never told that the job exists.
            if isIdentifier(name), contents.allSatisfy({ $0.hasSuffix(".tmp") }) {
                if (try? files.removeFolder(folder)) != nil { continue }
            }
            guard isIdentifier(name), let entry = read(name) else {
                quarantine(name, log: log)
                continue
            }
            for stale in contents where stale.hasSuffix(".tmp") { unlink("\(folder)/\(stale)") }
            found.append(entry)
        }
        return found.sorted { $0.job.sequence < $1.job.sequence }
    }

    private func read(_ id: String) -> Entry? {
        guard let bytes = try? files.read("\(jobs)/\(id)/job.json", limit: Self.maximumRecord),
            let record = try? JSONDecoder().decode(Record.self, from: Data(bytes)), record.version == Record.current,
            record.job.id == id
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

    /// Makes a job durable; when it throws, nothing of it is left.
    func create(_ job: Job, parameters: String?) throws(FileError) {
        let folder = "\(jobs)/\(job.id)"
        do throws(FileError) {
            try files.makeFolder(folder)
            try save(job, parameters: parameters)
        } catch {
            try? files.removeFolder(folder)
            throw error
        }
    }

    func save(_ job: Job, parameters: String?) throws(FileError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let path = "\(jobs)/\(job.id)/job.json"
        guard let data = try? encoder.encode(Record(job: job, parameters: parameters)) else {
            throw FileError(operation: "encode", path: path, code: EINVAL)
        }
        try files.replace(path, with: Array(data))
    }

    func save(frames: [[UInt8]], latents: [UInt8], of id: String) throws(FileError) {
        try files.replace("\(jobs)/\(id)/frames.bin", with: FrameFile.encode(frames))
        try files.replace("\(jobs)/\(id)/latents.bin", with: latents)
    }

    func frames(of id: String) -> [[UInt8]]? {
        guard let bytes = try? files.read("\(jobs)/\(id)/frames.bin", limit: FrameFile.maximumBytes) else { return nil }
        return FrameFile.decode(bytes)
    }

    /// Gone with the rename; what a power cut leaves of it is removed at the next start.
    func remove(_ id: String) throws(FileError) {
        let trash = "\(jobs)/\(Self.trash)\(id)"
        try files.rename(folder: "\(jobs)/\(id)", to: trash)
        try? files.removeFolder(trash)
    }

    func bytes(of id: String) -> Int64 { files.size(ofFolder: "\(jobs)/\(id)") }

    var freeBytes: Int64 { files.freeBytes(at: directory) }

    /// Seconds that finished jobs have been kept while the daemon ran; an unreadable file makes them young again.
    func loadAges() -> [String: Int64] {
        guard let bytes = try? files.read(directory + "/ages.json", limit: 16 << 20) else { return [:] }
        return (try? JSONDecoder().decode([String: Int64].self, from: Data(bytes))) ?? [:]
    }

    func save(ages: [String: Int64]) {
        guard let data = try? JSONEncoder().encode(ages) else { return }
        try? files.replace(directory + "/ages.json", with: Array(data))
    }

    private func isIdentifier(_ name: String) -> Bool { JobIdentifier.isValid(name) }
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
