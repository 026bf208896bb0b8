import ArgumentParser
import Engine
import FoundationEssentials
import Glibc
import Models
import Video

struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "One pass of a transformer, with its arena and the private memory of this process.",
        discussion: """
            FOLDER is a model folder, or one with a transformer alone (`filoscope_quantization convert --random`), whose
            latents are taken to be Wan's: 8 pixels a side, 4 frames.
            """)
    @Argument(help: "The folder.") var folder: String
    @Option(help: ArgumentHelp("Pixels.", valueName: "WIDTHxHEIGHT")) var size = "256x160"
    @Option(help: "Frames.") var frames = 17
    @Option(help: "Tokens of the text that are no padding.") var textTokens = 512
    @Option(help: ArgumentHelp("Numbers of threads.", valueName: "N,N")) var threads = "1,2"
    @Option(help: ArgumentHelp("A kernel level of `filoscope-bench levels`; default: the best.", valueName: "name"))
    var level: String?
    @Option(help: "Passes with each number of threads, after one that warms up.") var repetitions = 3
    @Flag(help: "One JSON object a line.") var json = false
    @Option(help: "A safetensors file for the inputs, random, and the output.") var save: String?

    func run() throws {
        guard let size = Size(size) else { throw ValidationError("--size: WIDTHxHEIGHT") }
        let counts = threads.split(separator: ",").map { Int($0) ?? 0 }
        guard !counts.isEmpty, counts.allSatisfy({ (1...64).contains($0) }) else {
            throw ValidationError("--threads: numbers of 1 to 64")
        }
        let forced = level ?? getenv(KernelLevel.environmentVariable).map { String(cString: $0) }
        let start = seconds()
        let (transformer, shape) = try open(size)
        let opened = seconds() - start
        let computes = try counts.map {
            Compute(level: try KernelLevel.selected(forced), pool: ThreadPool(threads: $0))
        }
        try Self.lines(
            transformer, shape, textTokens: min(textTokens, transformer.maximumTokens), computes,
            repetitions: repetitions, opened: opened, file: save
        ) { print($0.text(json: json)) }
    }

    private func open(_ size: Size) throws -> (Transformer, LatentShape) {
        if let model = try? Model(folder: folder) {
            return (
                model.transformer,
                try model.description.latentShape(width: size.width, height: size.height, frames: frames)
            )
        }
        let transformer = try Transformer(folder: folder)
        guard size.width % 16 == 0, size.height % 16 == 0, frames % 4 == 1 else {
            throw ValidationError("Wan's sizes are multiples of 16, its lengths 4k + 1 frames")
        }
        return (
            transformer,
            LatentShape(
                channels: transformer.configuration.inChannels, frames: (frames - 1) / 4 + 1, height: size.height / 8,
                width: size.width / 8)
        )
    }

    /// Times the numbers of threads in turns.
    static func lines(
        _ transformer: Transformer, _ shape: LatentShape, textTokens: Int, _ computes: [Compute], repetitions: Int,
        opened: Double, file: String? = nil, _ report: (Line) -> Void
    ) throws {
        let before = privateBytes()
        let arena = try Arena(byteCount: transformer.bytes(for: shape))
        let states = randomFloats(textTokens * transformer.configuration.textDimension, stream: 3)
        let latents = randomFloats(shape.count, stream: 4)
        var output = [Float](repeating: 0, count: shape.count)
        guard let first = computes.first else { return }
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let contextStart = seconds()
        let context = try states.withUnsafeBufferPointer {
            try transformer.context(states: $0.baseAddress, tokens: textTokens, compute: first, arena: arena)
        }
        let contextSeconds = seconds() - contextStart
        let timesteps = [Float](repeating: 900, count: shape.frames)
        var taken = [[Double]](repeating: [], count: computes.count)
        var parts = taken
        let operations = transformer.operations(shape, keys: context.keys)
        for repetition in 0...repetitions {
            for (index, compute) in computes.enumerated() {
                let watch = Stopwatch(compute: compute)
                let peakBefore = watch.int8Peak(milliseconds: 20)
                let start = watch.seconds()
                try transformer(
                    latents, shape: shape, timesteps: timesteps, context: context, into: &output, compute: compute,
                    arena: arena)
                let took = watch.seconds() - start
                let peak = (peakBefore + watch.int8Peak(milliseconds: 20)) / 2
                if repetition == 0 { continue }
                taken[index].append(took)
                parts[index].append(operations / took / peak)
            }
        }
        if let file {
            let bytes = { (floats: [Float]) in floats.withUnsafeBytes { Array($0) } }
            let volume = [shape.channels, shape.frames, shape.height, shape.width]
            try filoscope_bench.save(
                safetensors([
                    ("latents", "F32", volume, bytes(latents)),
                    ("states", "F32", [textTokens, transformer.configuration.textDimension], bytes(states)),
                    ("timestep", "F32", [1], bytes([timesteps[0]])), ("output", "F32", volume, bytes(output)),
                ]), file)
        }
        let checksum = output.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1.bitPattern)) &* 0x100_0000_01b3 }
        for (index, compute) in computes.enumerated() {
            let samples = Samples(taken[index])
            var line = Line("step")
            line.add("tokens", transformer.tokens(shape))
            line.add("text_keys", context.keys)
            line.add("seconds", samples.median, digits: 4)
            line.add("p90", samples.quantile(0.9), digits: 4)
            line.add("teraops", operations / 1e12, digits: 4)
            line.add("percent_of_peak", 100 * Samples(parts[index]).median)
            line.add("speedup", Samples(taken[0]).median / samples.median, digits: 2)
            line.add("arena_mib", Double(arena.byteCount) / 1048576)
            line.add("private_mib", Double(max(0, privateBytes())) / 1048576)
            line.add("private_before_mib", Double(before) / 1048576)
            line.add("open_seconds", opened, digits: 4)
            line.add("context_seconds", contextSeconds, digits: 3)
            line.add("output", String(checksum, radix: 16))
            line.add(compute)
            report(line)
        }
    }
}

/// `RssAnon` of this process.
func privateBytes() -> Int {
    guard let file = fopen("/proc/self/status", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard text.hasPrefix("RssAnon:") else { continue }
        return 1024
            * (text.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) } ?? 0)
    }
    return 0
}
