import ArgumentParser
import Engine
import Generation
import Glibc
import Jobs
import Media
import Models
import Video

struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make one video straight from a model folder.",
        discussion: """
            Writes frames.safetensors (`frames`, uint8 [frames, height, width, 3]), noise.safetensors (`noise`, float32
            [channels, frames, height, width]: what `filoscope_quantization reference --noise` takes) and sheet.jpg.
            """)
    @Argument(help: "The model's folder.") var folder: String
    @Argument(help: "What the video shows.") var prompt: String
    @Option(help: "The folder to write to.") var out: String
    @Option var seed: UInt64 = 1
    @Option var steps: Int?
    @Option var guidance: Double?
    @OptionGroup var engine: EngineOptions

    func run() throws {
        let generator = VideoGenerator(model: try Model(folder: folder), compute: try engine.compute())
        let request = try generator.request(prompt, seed: seed, steps: steps, guidance: guidance)
        let shape = try generator.model.description.latentShape(
            width: request.size.width, height: request.size.height, frames: request.frames)
        let noise = [Float](unsafeUninitializedCapacity: shape.count) { buffer, count in
            Random.normal(seed: seed, stream: 0, count: shape.count, into: buffer.baseAddress!)
            count = shape.count
        }
        let start = seconds()
        let (frames, video) = try generator.frames(request, noise: noise)
        let taken = seconds() - start

        if mkdir(out, 0o777) != 0, errno != EEXIST { throw ValidationError("\(out) can't be made") }
        let frameShape = [frames.count, request.size.height, request.size.width, 3]
        try save(
            safetensors("frames", "U8", frameShape, frames.flatMap(\.pixels)), "\(out)/frames.safetensors")
        let noiseShape = [shape.channels, shape.frames, shape.height, shape.width]
        try save(
            safetensors("noise", "F32", noiseShape, noise.withUnsafeBytes { Array($0) }), "\(out)/noise.safetensors")
        try save(
            JPEG.encode(ContactSheet.make(frames, columns: 9), quality: 95, subsampling: .full),
            "\(out)/sheet.jpg")
        print("frames_sha256 \(Frame.sha256(of: frames))")
        print("\(request.steps) steps, guidance \(request.guidance): \(fixed(taken, 3)) s, \(video.peakBytes) bytes")
    }
}

extension VideoGenerator {
    /// A request with the card's defaults for what is `nil`.
    func request(_ prompt: String, seed: UInt64, steps: Int?, guidance: Double?) throws -> VideoRequest {
        var parameters = VideoParameters(prompt: prompt)
        parameters.seed = seed
        parameters.steps = steps
        parameters.guidance = guidance
        return try resolve(parameters)
    }
}
