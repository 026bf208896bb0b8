import Engine
import Testing

@testable import Models

extension OnModels {
    /// Autoencoder and preview with int8 convolutions, as calibration makes them.
    @Suite struct Int8ConvolutionTests {
        /// A golden's folder with the int8 files of `Goldens/NAME/int8`, but for layers that `float` keeps.
        func folder(_ name: String, float: (String) -> Bool = { _ in false }) throws -> ModelFolder {
            let folder = try ModelFolder(copying: name)
            for file in ["autoencoder.safetensors", "preview.safetensors"] {
                let checkpoint = try Checkpoint(path: "\(goldens)/\(name)/int8/\(file)")
                func layer(_ tensor: String) -> String {
                    String(tensor[..<(tensor.lastIndex(of: ".") ?? tensor.endIndex)])
                }
                let int8 = try checkpoint.names.map { name in
                    let tensor = try checkpoint.tensor(name)
                    return TestTensor(
                        name: name, type: tensor.type.description, shape: tensor.shape,
                        bytes: Array(UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount)))
                }
                try folder.change(file) { tensors in
                    tensors = tensors.filter { float(layer($0.name)) } + int8.filter { !float(layer($0.name)) }
                }
            }
            return folder
        }

        func decode(_ model: Model, _ golden: Golden, _ compute: Compute, dirt: UInt8 = 0) throws -> [Float] {
            let (input, shape) = try golden.latents("autoencoder.latents")
            var plan = ArenaPlan()
            model.autoencoder.planStream(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
            let arena = try Arena(byteCount: plan.byteCount)
            try arena.allocate(UInt8.self, count: plan.byteCount).update(repeating: dirt, count: plan.byteCount)
            arena.rewind(to: 0)
            let stream = try model.autoencoder.stream(
                latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
            #expect(arena.peakByteCount == plan.byteCount)
            var pixels: [Float] = []
            let area = shape.height * shape.width
            for frame in 0..<shape.frames {
                try input.withUnsafeBufferPointer { input in
                    try stream.pushUnrounded(
                        input.baseAddress.unsafelyUnwrapped + frame * area, channelStride: shape.frames * area
                    ) { pixels += UnsafeBufferPointer(start: $0, count: stream.size.pixels * 3) }
                }
            }
            return pixels.map { min(max($0, 0), 1) }
        }

        func draw(_ model: Model, _ golden: Golden, _ compute: Compute) throws -> [UInt8] {
            let (input, shape) = try golden.latents("preview.latents")
            var plan = ArenaPlan()
            model.preview.plan(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
            let arena = try Arena(byteCount: plan.byteCount)
            let area = shape.height * shape.width
            var pixels: [UInt8] = []
            for frame in 0..<shape.frames {
                pixels += try Array(input[(frame * area)...]).withUnsafeBufferPointer {
                    try model.preview.decode(
                        $0.baseAddress.unsafelyUnwrapped, channelStride: shape.frames * area,
                        latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena
                    ).pixels
                }
            }
            #expect(arena.peakByteCount == plan.byteCount)
            return pixels
        }

        /// Every level gives the numbers of the arithmetic written down again in Python, not numbers near them.
        @Test(arguments: ["tiny", "odd"], KernelLevel.supported)
        func givesTheNumbersOfTheEmulation(_ name: String, _ level: KernelLevel) throws {
            let folder = try folder(name)
            let model = try Model(folder: folder.path)
            try model.verify()
            let (golden, int8) = (try Golden("\(goldens)/\(name)"), try Golden("\(goldens)/\(name)/int8"))
            for threads in [1, 3] {
                let compute = Compute(level: level, pool: ThreadPool(threads: threads))
                #expect(try decode(model, golden, compute, dirt: 0x7f) == int8.floats("autoencoder.frames"))
                let drawn = try int8.floats("preview.frames").map { UInt8(($0 * 255).rounded(.toNearestOrEven)) }
                #expect(try draw(model, golden, compute) == drawn)
            }
            let float = try golden.floats("autoencoder.frames")
            let error = zip(try int8.floats("autoencoder.frames"), float).reduce(0) {
                $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
            }
            #expect(error > 0 && error / Float(float.count) < 1e-3, "30 dB, with weights that are noise")
        }

        /// Layers that calibration leaves float32, anywhere: bytes and floats meet in every way.
        @Test(arguments: [
            ["decoder.1"], ["conv.0"], ["conv.4"], ["conv.2", "conv.4"], ["decoder.3.conv.0", "decoder.10.conv.0"],
            ["conv"], ["decoder.5.conv", "decoder.6", "decoder.10"], ["decoder.1", "decoder.6", "decoder.16"],
            ["decoder.9", "decoder.17"],
        ])
        func someLayersStayFloat(_ kept: [String]) throws {
            for name in ["tiny", "odd"] {
                let folder = try folder(name) { layer in kept.contains { layer == $0 || layer.hasSuffix(".\($0)") } }
                let model = try Model(folder: folder.path)
                let golden = try Golden("\(goldens)/\(name)")
                let expected = try decode(model, golden, Compute(level: .reference, pool: ThreadPool(threads: 1)))
                let float = try golden.floats("autoencoder.frames")
                let error = zip(expected, float).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
                #expect(error / Float(float.count) < 1e-3)
                for level in KernelLevel.supported {
                    let compute = Compute(level: level, pool: ThreadPool(threads: 2))
                    #expect(try decode(model, golden, compute, dirt: 0xff) == expected, "\(name), \(level)")
                }
            }
        }

        @Test func aWrongScaleIsRefused() throws {
            let folder = try folder("tiny")
            try folder.change("autoencoder.safetensors") { tensors in
                for index in tensors.indices where tensors[index].name == "decoder.1.input" {
                    tensors[index] = TestTensor("decoder.1.input", "F32", [2], [Float.nan, 0])
                }
            }
            let error = #expect(throws: ModelError.self) { try Model(folder: folder.path) }
            #expect("\(try #require(error))".contains("tensor 'decoder.1.input' holds nan"))
        }
    }
}
