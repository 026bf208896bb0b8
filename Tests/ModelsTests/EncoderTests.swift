import Engine
import Testing
import Video

@testable import Models

extension OnModels {
    /// From pictures to latents. What the numbers are, parity says; here: memory, determinism, int8, refusals.
    @Suite struct EncoderTests {
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))

        func encode(
            _ model: Model, _ frames: [Frame], _ compute: Compute, dirt: UInt8 = 0
        ) throws -> [[Float]] {
            let factor = model.description.autoencoder.spaceFactor
            let (height, width) = (frames[0].size.height / factor, frames[0].size.width / factor)
            var plan = ArenaPlan()
            model.autoencoder.planEncoderStream(latentHeight: height, latentWidth: width, in: &plan)
            let arena = try Arena(byteCount: plan.byteCount)
            try arena.allocate(UInt8.self, count: plan.byteCount).update(repeating: dirt, count: plan.byteCount)
            arena.rewind(to: 0)
            let stream = try model.autoencoder.encoderStream(
                latentHeight: height, latentWidth: width, compute: compute, arena: arena)
            #expect(arena.peakByteCount == plan.byteCount)
            var latents: [[Float]] = []
            let count = height * width * model.description.autoencoder.latentChannels
            for (index, frame) in frames.enumerated() {
                try stream.push(frame) { latents.append(Array(UnsafeBufferPointer(start: $0, count: count))) }
                #expect(latents.count == index / model.description.autoencoder.timeFactor + 1)
            }
            return latents
        }

        func pictures(_ size: Size, _ count: Int) -> [Frame] {
            (0..<count).map { index in
                Frame(
                    size: size,
                    pixels: (0..<size.pixels * 3).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 &+ index &* 97) })
            }
        }

        @Test(arguments: ["tiny", "odd"]) func theSameBitsInDirtyMemoryOnEveryLevel(_ name: String) throws {
            let model = try Model(folder: "\(goldens)/\(name)/model")
            let frames = pictures(try #require(Size(width: 32, height: 24)), 9)
            let expected = try encode(model, frames, compute)
            #expect(expected.joined().allSatisfy(\.isFinite) && Set(expected.joined()).count > 50)
            for level in KernelLevel.supported {
                for threads in [1, 3] {
                    let other = Compute(level: level, pool: ThreadPool(threads: threads))
                    #expect(try encode(model, frames, other, dirt: 0xff) == expected, "\(level), \(threads) threads")
                }
            }
        }

        @Test func aLatentKnowsNoLaterPicture() throws {
            let model = try Model(folder: "\(goldens)/tiny/model")
            var frames = pictures(try #require(Size(width: 32, height: 24)), 9)
            let before = try encode(model, frames, compute)
            #expect(before.count == 3)
            frames[5] = Frame(size: frames[5].size, pixels: [UInt8](repeating: 0, count: frames[5].pixels.count))
            let after = try encode(model, frames, compute)
            #expect(before[0] == after[0] && before[1] == after[1] && before[2] != after[2])
            #expect(try encode(model, [frames[0]], compute) == [before[0]])
        }

        @Test(arguments: ["tiny", "odd"], KernelLevel.supported)
        func int8GivesTheNumbersOfTheEmulation(_ name: String, _ level: KernelLevel) throws {
            let folder = try Int8ConvolutionTests().folder(name)
            let model = try Model(folder: folder.path)
            let (golden, int8) = (try Golden("\(goldens)/\(name)"), try Golden("\(goldens)/\(name)/int8"))
            let compute = Compute(level: level, pool: ThreadPool(threads: 2))
            let arena = try Arena(byteCount: golden.arenaBytes(model))
            #expect(
                try Parity.encode(golden, model, compute, arena) == int8.floats("autoencoder.encoded"))
        }

        @Test func refusesWhatDoesNotFit() throws {
            let model = try Model(folder: "\(goldens)/tiny/model")
            let frames = pictures(try #require(Size(width: 32, height: 24)), 1)
            let wrong = pictures(try #require(Size(width: 24, height: 32)), 1)
            #expect(throws: ModelError.self) { try encode(model, frames + wrong, compute) }
            compute.setCancelled(true)
            #expect(throws: ModelError.cancelled) { try encode(model, frames, compute) }
            compute.setCancelled(false)
            let folder = try ModelFolder(copying: "tiny")
            try folder.change { $0.autoencoder.encoder = nil }
            let blind = try Model(folder: folder.path)
            #expect(!blind.autoencoder.canEncode && model.autoencoder.canEncode)
            #expect(throws: ModelError.self) { try encode(blind, frames, compute) }
        }
    }
}
