import Engine
import Glibc
import Jobs
import Models
import Threads
import Video

/// The models of a folder and the compute resources they share; the one implementation of `FrameGenerator`.
///
/// One generation runs at a time; a second caller waits.
public final class Pipeline: FrameGenerator {
    private let generators: [VideoGenerator]
    private let resolvers: [RequestResolver]
    private let compute: Compute
    private let computing = Locked<Void>(())
    private let unavailable: String?
    private let verified = Locked<Set<String>>([])

    /// Opens every model folder (one with a model.json) under `modelsDirectory`. A model that can't be opened does not keep
    /// the daemon from starting: `unavailableReason` says what is wrong with it.
    ///
    /// - Parameters:
    ///   - threads: that compute; nil is one for each CPU, 64 at most.
    ///   - cpus: where they run, of `availableProcessors`; nil is the fastest ones when there are fewer threads than CPUs
    ///     and these differ, else any.
    /// - Throws: `KernelLevelError` when `FILOSCOPE_KERNELS` asks for a level that this CPU does not have.
    public init(modelsDirectory: String, threads: Int? = nil, cpus: [Int]? = nil) throws {
        let forced = getenv(KernelLevel.environmentVariable).map { String(cString: $0) }
        let available = Self.availableProcessors
        let threads = threads ?? min(max((cpus ?? available).count, 1), 64)
        let placement = Processors.placement(threads: threads, wanted: cpus, available: available)
        compute = Compute(
            level: try KernelLevel.selected(forced), pool: ThreadPool(threads: threads, cpus: placement))
        var generators: [VideoGenerator] = []
        var problems: [String] = []
        for folder in modelFolders(in: modelsDirectory) {
            do {
                let model = try Model(folder: folder)
                if generators.contains(where: { $0.model.description.name == model.description.name }) {
                    problems.append("\(folder): another folder has a model of the name \(model.description.name)")
                    continue
                }
                generators.append(VideoGenerator(model: model, compute: compute))
            } catch {
                problems.append("\(folder): \(error)")
            }
        }
        self.generators = generators
        resolvers = generators.map { RequestResolver($0.model.description) }
        if !generators.isEmpty {
            unavailable = nil
        } else if problems.isEmpty {
            unavailable = "there is no model in \(modelsDirectory)"
        } else {
            unavailable = problems.joined(separator: "; ")
        }
        self.problems = problems
    }

    /// The numbers of the CPUs this process may compute on, ascending.
    public static var availableProcessors: [Int] { Processors.available }

    /// Threads that compute.
    public var threads: Int { compute.pool.threads }

    /// What kept models from being opened, a line each, for the log.
    public let problems: [String]

    /// The kernel level in use, as `avx512vnni`.
    public var kernelLevel: String { compute.level.name }

    public var unavailableReason: String? { unavailable }

    public var workCounter: UInt64 { compute.pool.progress }

    public func interrupt() { compute.setCancelled(true) }

    public var capabilities: [ModelCapabilities] {
        let verified = verified.withLock { $0 }
        return zip(generators, resolvers).map { generator, resolver in
            let card = generator.model.description
            return ModelCapabilities(
                id: card.name, description: card.description, licence: card.licence, sizes: resolver.sizes,
                fps: card.generation.fps, minimumFrames: card.generation.frames.min,
                maximumFrames: resolver.maximumFrames, defaultSteps: card.generation.steps.default,
                maximumSteps: card.generation.steps.max, defaultGuidance: card.generation.guidance.default,
                abilities: card.abilities, verified: verified.contains(card.name),
                words: card.words.map { words in
                    ModelWords(
                        subjects: words.subjects?.phrases ?? [], motions: words.motions?.phrases ?? [],
                        places: words.places?.phrases ?? [])
                })
        }
    }

    public func resolve(_ parameters: VideoParameters) throws(RequestError) -> VideoRequest {
        if let unavailable {
            throw RequestError(.unavailable, code: "model_unavailable", field: nil, unavailable)
        }
        guard let wanted = parameters.model else { return try resolvers[0].resolve(parameters) }
        guard let resolver = resolvers.first(where: { $0.description.name == wanted }) else {
            let known = resolvers.map(\.description.name).joined(separator: ", ")
            throw RequestError(
                .unsupported, code: "model_not_found", field: "model", "no model '\(wanted)' here; there is \(known)")
        }
        return try resolver.resolve(parameters)
    }

    public func generate(
        _ request: VideoRequest, material: VideoMaterial, observer: any GenerationObserver
    ) throws(GenerationError) -> GeneratedVideo {
        guard let generator = generators.first(where: { $0.model.description.name == request.model }) else {
            throw .modelUnreadable("the model '\(request.model)' is not here any more")
        }
        return try computing.withLock { _ throws(GenerationError) in
            compute.setCancelled(false)
            compute.pool.placeCaller()
            return try generator.generate(request, material: material, observer: observer)
        }
    }

    /// Compares every file of every model with the hashes on its card, at the caller's priority; a mismatch is returned.
    public func verify() -> [String] {
        generators.compactMap { generator in
            do {
                try generator.model.verify()
                let name = generator.model.description.name
                verified.withLock { _ = $0.insert(name) }
                return nil
            } catch {
                return "\(generator.model.description.name): \(error)"
            }
        }
    }
}

/// Folders with a model.json, by name; `directory` itself when it has one.
private func modelFolders(in directory: String) -> [String] {
    func isModel(_ path: String) -> Bool { access(path + "/model.json", F_OK) == 0 }
    if isModel(directory) { return [directory] }
    guard let handle = opendir(directory) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if !name.hasPrefix("."), isModel("\(directory)/\(name)") { names.append("\(directory)/\(name)") }
    }
    return names.sorted()
}
