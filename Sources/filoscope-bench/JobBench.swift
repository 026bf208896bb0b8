import ArgumentParser
import Engine
import Generation
import Glibc
import Jobs
import Media
import Models
import Video

struct JobBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job",
        abstract: "Where the time of a job with the card's defaults goes, with the limit of each part.",
        discussion: """
            Each part is run by itself as often as the job runs it; the whole job is timed in turns with them. A limit is
            the part's operations at the int8 peak measured beside it. What is left of the whole are the sampler's
            additions and the job's buffers.
            """)
    @Argument(help: "The model's folder.") var folder = "Models/nano"
    @Option(help: "What the video shows.") var prompt = "a red apple on a green meadow"
    @Option(help: "Jobs, after one that warms up.") var repetitions = 7
    @Flag(help: "One JSON object a line.") var json = false
    @OptionGroup var engine: EngineOptions

    /// A part of a job.
    private struct Part {
        var name: String
        /// In a job.
        var times: Int
        /// Of one time; nil has no limit in operations.
        var operations: Double?
        var body: () throws -> Void
    }

    func validate() throws {
        guard (1...1000).contains(repetitions) else { throw ValidationError("--repetitions: 1 to 1000") }
    }

    func run() throws {
        let compute = try engine.compute()
        let watch = Stopwatch(compute: compute)
        let start = seconds()
        let model = try Model(folder: folder)
        let opened = seconds() - start
        let generator = VideoGenerator(model: model, compute: compute)
        let request = try generator.request(prompt, seed: 1, steps: nil, guidance: nil)
        let parts = try parts(model, request, compute)
        var whole: [Double] = []
        var taken = [[Double]](repeating: [], count: parts.count)
        var peaks: [Double] = []
        var bytes = 0
        for repetition in 0...repetitions {
            let all = try watch.time { bytes = try generator.generate(request, observer: SilentObserver()).peakBytes }
            let times = try parts.map { part in
                try watch.time { for _ in 0..<part.times { try part.body() } }
            }
            guard repetition > 0 else { continue }
            peaks.append(watch.int8Peak())
            whole.append(all)
            for (index, time) in times.enumerated() { taken[index].append(time) }
        }
        let (total, peak) = (Samples(whole), Samples(peaks).median)
        var rest = total.median
        for (part, times) in zip(parts, taken) {
            let samples = Samples(times)
            rest -= samples.median
            let limit = part.operations.map { $0 * Double(part.times) / peak }
            report(part.name, part.times, samples, limit, of: total.median, compute)
        }
        report("the rest", 1, Samples([rest]), nil, of: total.median, compute)
        var line = Line("job")
        line.add("part", "the whole job")
        line.add("milliseconds", 1e3 * total.median, digits: 2)
        line.add("p90", 1e3 * total.quantile(0.9), digits: 2)
        line.add("int8_peak_gops", peak / 1e9)
        line.add("size", "\(request.size)")
        line.add("frames", request.frames)
        line.add("steps", request.steps)
        line.add("guidance", request.guidance, digits: 2)
        line.add("arena_mib", Double(bytes) / 1048576)
        line.add("private_mib", Double(privateBytes()) / 1048576)
        line.add("open_milliseconds", 1e3 * opened, digits: 2)
        line.add(compute)
        print(line.text(json: json))
    }

    private func report(
        _ name: String, _ times: Int, _ samples: Samples, _ limit: Double?, of total: Double, _ compute: Compute
    ) {
        var line = Line("job")
        line.add("part", name)
        line.add("times", times)
        line.add("milliseconds", 1e3 * samples.median, digits: 2)
        line.add("p90", 1e3 * samples.quantile(0.9), digits: 2)
        line.add("percent_of_job", 100 * samples.median / total)
        line.add("limit_milliseconds", limit.map { 1e3 * $0 } ?? .nan, digits: 2)
        line.add("percent_of_limit", limit.map { 100 * $0 / samples.median } ?? .nan)
        line.add(compute)
        print(line.text(json: json))
    }

    private func parts(_ model: Model, _ request: VideoRequest, _ compute: Compute) throws -> [Part] {
        let shape = try model.description.latentShape(
            width: request.size.width, height: request.size.height, frames: request.frames)
        let (transformer, encoder, autoencoder) = (model.transformer, model.textEncoder, model.autoencoder)
        let arena = try Arena(byteCount: VideoGenerator(model: model, compute: compute).bytes(for: shape, guided: true))
        let (area, frameCount) = (shape.height * shape.width, shape.frameCount)
        let latents = try arena.allocate(Float.self, count: shape.count)
        let predicted = try arena.allocate(Float.self, count: shape.count)
        Random.normal(seed: 1, stream: 0, count: shape.count, into: latents)
        let tokens = try model.tokenizer.encode(request.prompt)
        var states = [Float](repeating: 0, count: encoder.maximumTokens * encoder.hiddenSize)
        try states.withUnsafeMutableBufferPointer {
            try encoder.encode(tokens, into: $0.baseAddress!, compute: compute, arena: arena)
        }
        let encoded = states
        func embed() throws -> TextContext {
            try encoded.withUnsafeBufferPointer {
                try transformer.context(states: $0.baseAddress, tokens: tokens.count, compute: compute, arena: arena)
            }
        }
        let context = try embed()
        let timesteps = [Float](repeating: 500, count: shape.frames)
        let passes = request.steps * (request.guidance == 1 ? 1 : 2)
        let scratch = Scratch(states)
        let picture = try model.preview.decode(
            latents, channelStride: shape.frames * area, latentHeight: shape.height, latentWidth: shape.width,
            compute: compute, arena: arena)
        let text = model.description.textEncoder
        let (width, hidden) = (Double(text.hiddenSize), Double(text.intermediateSize))
        let words = Double(tokens.count)
        return [
            Part(
                name: "text encoder", times: 1,
                operations: 2 * words * Double(text.layers)
                    * (4 * width * width + 2 * width * hidden + 2 * words * width)
            ) {
                try scratch.floats.withUnsafeMutableBufferPointer {
                    try encoder.encode(tokens, into: $0.baseAddress!, compute: compute, arena: arena)
                }
            },
            Part(name: "keys and values of the texts", times: request.guidance == 1 ? 1 : 2, operations: nil) {
                let mark = arena.mark
                defer { arena.rewind(to: mark) }
                _ = try embed()
            },
            Part(
                name: "transformer", times: passes, operations: transformer.operations(shape, keys: context.keys)
            ) {
                try transformer(
                    latents, shape: shape, timesteps: timesteps, context: context, into: predicted, compute: compute,
                    arena: arena)
            },
            Part(name: "previews", times: request.steps, operations: nil) {
                _ = try model.preview.decode(
                    latents, channelStride: shape.frames * area, latentHeight: shape.height,
                    latentWidth: shape.width, compute: compute, arena: arena)
            },
            Part(
                name: "decoder", times: 1,
                operations: Double(
                    autoencoder.operations(
                        latentHeight: shape.height, latentWidth: shape.width, latentFrames: shape.frames))
            ) {
                let mark = arena.mark
                defer { arena.rewind(to: mark) }
                let latent = try arena.allocate(Float.self, count: frameCount)
                let stream = try autoencoder.stream(
                    latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
                for frame in 0..<shape.frames {
                    for channel in 0..<shape.channels {
                        (latent + channel * area).update(
                            from: latents + (channel * shape.frames + frame) * area, count: area)
                    }
                    try stream.push(latent) { _ in }
                }
            },
            Part(name: "beside the job: a preview as JPEG", times: request.steps, operations: nil) {
                _ = try JPEG.encode(picture, quality: 90)
            },
        ]
    }

    /// Where a part may write.
    private final class Scratch {
        var floats: [Float]
        init(_ floats: [Float]) { self.floats = floats }
    }
}
