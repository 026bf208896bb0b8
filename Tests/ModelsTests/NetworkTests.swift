import Engine
import Testing

@testable import Models

extension OnModels {
    /// What parity alone would not show: int8, determinism, memory, cancelling, refusals.
    @Suite struct NetworkTests {
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))

        func run(
            _ model: Model, _ golden: Golden, _ compute: Compute, feedForwardTokens: Int? = nil, padding: Bool = true
        ) throws -> (text: [Float], latents: [Float]) {
            let tokens = try golden.tokens()
            let (input, shape) = try golden.latents("transformer.hidden_states")
            let arena = try Arena(byteCount: golden.arenaBytes(model))
            var states = [Float](repeating: 0, count: model.tokenizer.maximumTokens * model.textEncoder.hiddenSize)
            try model.textEncoder.encode(tokens, into: &states, compute: compute, arena: arena)
            let context = try model.transformer.context(
                states: states, tokens: padding ? tokens.count : model.tokenizer.maximumTokens, compute: compute,
                arena: arena)
            var output = [Float](repeating: .nan, count: input.count)
            var transformer = model.transformer
            if let feedForwardTokens { transformer.feedForwardTokens = feedForwardTokens }
            try transformer(
                input, shape: shape, timesteps: golden.floats("transformer.timestep_frames"), context: context,
                into: &output, compute: compute, arena: arena)
            return (states, output)
        }

        func cosine(_ a: [Float], _ b: [Float]) -> Float {
            func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
            return Float(dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot())
        }

        @Test(arguments: ["tiny", "odd"]) func int8StaysCloseToFloat(_ name: String) throws {
            let golden = try Golden("\(goldens)/\(name)")
            let folder = try ModelFolder(copying: name)
            let float = try run(Model(folder: folder.path), golden, compute)
            for file in ["text_encoder.safetensors", "transformer.safetensors"] {
                try folder.change(file) { $0 = quantized($0) }
            }
            let model = try Model(folder: folder.path)
            #expect(model.transformer.blocks[0].expand.isQuantized)
            #expect(model.transformer.quantizedAttention)
            let int8 = try run(model, golden, compute)
            #expect(cosine(int8.text, float.text) > 0.999)
            #expect(cosine(int8.latents, float.latents) > 0.999)
            #expect(int8.latents != float.latents)
            for level in KernelLevel.supported {
                for threads in [1, 3] {
                    let other = try run(model, golden, Compute(level: level, pool: ThreadPool(threads: threads)))
                    #expect(other.text == int8.text, "\(level), \(threads) threads")
                    #expect(other.latents == int8.latents, "\(level), \(threads) threads")
                }
            }
        }

        @Test(arguments: ["tiny", "odd"]) func theSameBitsWhateverTheMachine(_ name: String) throws {
            let golden = try Golden("\(goldens)/\(name)")
            let model = try Model(folder: "\(goldens)/\(name)/model")
            let expected = try run(model, golden, compute)
            let frames = try decode(model, golden, compute)
            for level in KernelLevel.supported {
                for threads in [1, 3] {
                    let other = Compute(level: level, pool: ThreadPool(threads: threads))
                    let found = try run(model, golden, other)
                    #expect(found.text == expected.text, "\(level), \(threads) threads")
                    #expect(found.latents == expected.latents, "\(level), \(threads) threads")
                    #expect(try decode(model, golden, other) == frames, "\(level), \(threads) threads")
                }
            }
        }

        @Test func feedForwardInPiecesIsTheSame() throws {
            let golden = try Golden("\(goldens)/tiny")
            let model = try Model(folder: "\(goldens)/tiny/model")
            #expect(try run(model, golden, compute, feedForwardTokens: 7) == run(model, golden, compute))
        }

        @Test func onePaddingKeyStandsForAll() throws {
            let golden = try Golden("\(goldens)/tiny")
            let model = try Model(folder: "\(goldens)/tiny/model")
            let collapsed = try run(model, golden, compute).latents
            let spelledOut = try run(model, golden, compute, padding: false).latents
            #expect(Parity.error(collapsed, spelledOut) < 1e-5)
        }

        func decode(_ model: Model, _ golden: Golden, _ compute: Compute, dirt: Float = 0) throws -> [[UInt8]] {
            let (input, shape) = try golden.latents("autoencoder.latents")
            var plan = ArenaPlan()
            model.autoencoder.planStream(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
            let arena = try Arena(byteCount: plan.byteCount)
            let mark = arena.mark
            try arena.allocate(Float.self, count: plan.byteCount / 4).update(repeating: dirt, count: plan.byteCount / 4)
            arena.rewind(to: mark)
            let stream = try model.autoencoder.stream(
                latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
            #expect(arena.peakByteCount == plan.byteCount)
            var frames: [[UInt8]] = []
            let area = shape.height * shape.width
            for frame in 0..<shape.frames {
                let before = frames.count
                try Array(input[(frame * area)...]).withUnsafeBufferPointer { plane in
                    try stream.push(plane.baseAddress.unsafelyUnwrapped, channelStride: shape.frames * area) {
                        #expect($0.size == stream.size)
                        frames.append($0.pixels)
                    }
                }
                #expect(frames.count - before == (frame == 0 ? 1 : model.autoencoder.configuration.timeFactor))
            }
            return frames
        }

        @Test(arguments: ["tiny", "odd"]) func picturesAreRoundedAndMemoryMayBeDirty(_ name: String) throws {
            let golden = try Golden("\(goldens)/\(name)")
            let model = try Model(folder: "\(goldens)/\(name)/model")
            let frames = try decode(model, golden, compute)
            #expect(try decode(model, golden, compute, dirt: .nan) == frames)
            let expected = try golden.floats("autoencoder.frames")
            var furthest = 0
            for (byte, value) in zip(frames.joined(), expected) {
                furthest = max(furthest, abs(Int(byte) - Int((value * 255).rounded(.toNearestOrEven))))
            }
            // A number that lies within rounding error of a half may go the other way.
            #expect(furthest <= 1)
            #expect(Set(frames.joined()).count > 100)
        }

        @Test func previewsArePictures() throws {
            let golden = try Golden("\(goldens)/tiny")
            let model = try Model(folder: "\(goldens)/tiny/model")
            let (input, shape) = try golden.latents("preview.latents")
            let arena = try Arena(byteCount: golden.arenaBytes(model))
            let frame = try model.preview.decode(
                input, channelStride: shape.frames * shape.height * shape.width, latentHeight: shape.height,
                latentWidth: shape.width, compute: compute, arena: arena)
            #expect(arena.mark == 0)
            #expect(frame.size.width == shape.width * 4)
            let expected = try golden.floats("preview.frames")
            for (byte, value) in zip(frame.pixels, expected) { #expect(abs(Float(byte) - value * 255) < 0.51) }
        }

        @Test func colourValuesRoundHalfToEven() {
            #expect(rounded(-1) == 0)
            #expect(rounded(.nan) == 0)
            #expect(rounded(.infinity) == 255)
            #expect(rounded(2) == 255)
            #expect(rounded(0.5) == 128)
            #expect(rounded(0.5 / 255) == 0)
            #expect(rounded(1.5 / 255) == 2)
            #expect(rounded(254.4 / 255) == 254)
        }

        @Test func cancelsBetweenChunks() throws {
            let golden = try Golden("\(goldens)/tiny")
            let model = try Model(folder: "\(goldens)/tiny/model")
            let compute = Compute(level: .best, pool: ThreadPool(threads: 1))
            compute.setCancelled(true)
            #expect(throws: ModelError.cancelled) { try run(model, golden, compute) }
            #expect(throws: ModelError.cancelled) { try decode(model, golden, compute) }
            compute.setCancelled(false)
            #expect(try decode(model, golden, compute).count == 9)
        }

        @Test func refusesWhatDoesNotFit() throws {
            let model = try Model(folder: "\(goldens)/tiny/model")
            let golden = try Golden("\(goldens)/tiny")
            let arena = try Arena(byteCount: golden.arenaBytes(model))
            let context = try model.transformer.context(states: nil, tokens: 0, compute: compute, arena: arena)
            #expect(context.keys == 1)
            let input = [Float](repeating: 0, count: 4 * 3 * 8 * 12)
            var values = input
            for (channels, frames, height, width, steps) in [
                (5, 3, 8, 12, 3), (4, 3, 7, 12, 3), (4, 3, 8, 11, 3), (4, 0, 8, 12, 0), (4, 3, 8, 12, 2),
                (4, 1025, 8, 12, 1025), (4, 1024, 2048, 2048, 1024),
            ] {
                let shape = LatentShape(channels: channels, frames: frames, height: height, width: width)
                let timesteps = [Float](repeating: 500, count: steps)
                do {
                    try model.transformer(
                        input, shape: shape, timesteps: timesteps, context: context, into: &values, compute: compute,
                        arena: arena)
                    Issue.record("accepted \(shape)")
                } catch .shape {
                } catch {
                    Issue.record("\(error)")
                }
            }
            #expect(throws: ModelError.self) {
                try model.transformer.context(states: input, tokens: 13, compute: compute, arena: arena)
            }
            for tokens: [Int32] in [[], [-1], [1 << 20], [Int32](repeating: 0, count: 13)] {
                #expect(throws: ModelError.self) {
                    try model.textEncoder.encode(tokens, into: &values, compute: compute, arena: arena)
                }
            }
            #expect(throws: ModelError.self) { try model.autoencoder.size(latentHeight: 1, latentWidth: 1 << 40) }
            let small = try Arena(byteCount: 1024)
            #expect(throws: ModelError.self) {
                try model.transformer.context(states: nil, tokens: 0, compute: compute, arena: small)
            }
        }

        @Test(arguments: ["tiny", "odd"], [false, true]) func plansAreWhatIsUsed(_ name: String, int8: Bool) throws {
            let golden = try Golden("\(goldens)/\(name)")
            let folder = try ModelFolder(copying: name)
            if int8 { try folder.change("transformer.safetensors") { $0 = quantized($0) } }
            let model = try Model(folder: folder.path)
            #expect(model.transformer.quantizedAttention == int8)
            let (input, shape) = try golden.latents("transformer.hidden_states")
            let arena = try Arena(byteCount: model.transformer.bytes(for: shape))
            var output = input
            let states = [Float](repeating: 0, count: model.tokenizer.maximumTokens * model.textEncoder.hiddenSize)
            var contexts: [TextContext] = []
            for tokens in [model.tokenizer.maximumTokens - 1, model.tokenizer.maximumTokens] {
                contexts.append(
                    try model.transformer.context(states: states, tokens: tokens, compute: compute, arena: arena))
                #expect(contexts.last?.keys == model.tokenizer.maximumTokens)
            }
            let mark = arena.mark
            // Every frame at a time of its own takes the most.
            let timesteps = (0..<shape.frames).map { Float($0) * 300 }
            for context in contexts {
                try model.transformer(
                    input, shape: shape, timesteps: timesteps, context: context, into: &output, compute: compute,
                    arena: arena)
                #expect(arena.mark == mark)
            }
            #expect(arena.peakByteCount == arena.byteCount)
        }
    }
}
