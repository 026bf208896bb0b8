import Engine
import Glibc
import Jobs
import Models
import Testing
import Video

@testable import Generation

private let models = String(#filePath.dropLast("Tests/GenerationTests/KnownLatentsTests.swift".count)) + "Models"

/// Pictures that a video begins or ends with, with the model that is shipped.
@Suite struct KnownLatentsTests {
    let generator: VideoGenerator
    let picture: Frame

    init() throws {
        generator = VideoGenerator(
            model: try Model(folder: "\(models)/nano"), compute: Compute(level: .best, pool: ThreadPool(threads: 2)))
        let size = try #require(Size(width: 64, height: 64))
        // A red disk on a soft green ground: neither flat nor noise.
        picture = Frame(
            size: size,
            pixels: (0..<size.pixels).flatMap { place -> [UInt8] in
                let (x, y) = (place % 64 - 30, place / 64 - 26)
                return x * x + y * y < 200 ? [210, 40, 50] : [70, UInt8(120 + y), 80]
            })
    }

    func request(_ references: [Reference], seconds: Double = 1) throws -> VideoRequest {
        var parameters = VideoParameters(prompt: "a red apple moving right on the grass")
        parameters.seed = 3
        parameters.steps = 1
        parameters.guidance = 1
        parameters.seconds = seconds
        parameters.references = references
        return try generator.resolve(parameters)
    }

    func decibels(_ a: Frame, _ b: Frame) -> Double {
        let sum = zip(a.pixels, b.pixels).reduce(0.0) {
            $0 + Double(Int($1.0) - Int($1.1)) * Double(Int($1.0) - Int($1.1))
        }
        return 10 * log10(255 * 255 * Double(a.pixels.count) / max(sum, 1e-9))
    }

    /// What the autoencoder makes of the pictures by itself.
    func reconstruction(_ pictures: [Frame]) throws -> [Frame] {
        let shape = try generator.model.description.latentShape(width: 64, height: 64, frames: pictures.count)
        var plan = ArenaPlan()
        generator.planEncoding(shape, in: &plan)
        let latents = try generator.encode(pictures, shape: shape, arena: Arena(byteCount: plan.byteCount))
        #expect(latents.count == shape.frames)
        var decoding = ArenaPlan()
        generator.model.autoencoder.planStream(latentHeight: 16, latentWidth: 16, in: &decoding)
        let arena = try Arena(byteCount: decoding.byteCount)
        defer { withExtendedLifetime(arena) {} }
        let stream = try generator.model.autoencoder.stream(
            latentHeight: 16, latentWidth: 16, compute: generator.compute, arena: arena)
        let statistics = generator.model.description.latents
        var frames: [Frame] = []
        for latent in latents {
            let raw = latent.enumerated().map { index, value in
                value * statistics.std[index / 256] + statistics.mean[index / 256]
            }
            try raw.withUnsafeBufferPointer { try stream.push($0.baseAddress!) { frames.append($0) } }
        }
        return frames
    }

    @Test func theFirstFrameIsThePicture() throws {
        let request = try request([.first])
        let material = VideoMaterial(pictures: [.first: picture])
        let video = try generator.video(request, material: material)
        #expect(video.frames.count == 9)
        let best = decibels(try reconstruction([picture])[0], picture)
        let got = decibels(video.frames[0], picture)
        #expect(best > 24, "\(best) dB")
        #expect(got > best - 1, "\(got) dB; the autoencoder by itself \(best) dB")
        let without = try generator.video(self.request([]))
        #expect(decibels(without.frames[0], picture) < best - 5)
        #expect(video.frames[8] != without.frames[8], "what is unknown goes by what is known")
        #expect(video.frames[8] != video.frames[0], "it moves")
    }

    @Test func theLastFrameIsThePicture() throws {
        let request = try request([.last])
        let video = try generator.video(
            request, material: VideoMaterial(pictures: [.last: picture]))
        let got = decibels(video.frames[8], picture)
        let best = decibels(try reconstruction(Array(repeating: picture, count: 5))[4], picture)
        #expect(got > best - 3, "\(got) dB; the autoencoder by itself \(best) dB")
    }

    @Test func theSameFramesOnEveryLevel() throws {
        let request = try request([.first, .last])
        let material = VideoMaterial(pictures: [.first: picture, .last: picture])
        let expected = try generator.video(request, material: material)
        #expect(expected.frames.count == 9)
        let shape = try generator.model.description.latentShape(width: 64, height: 64, frames: 9)
        #expect(expected.peakBytes <= generator.bytes(for: shape, guided: false))
        // The end-to-end tests go through all levels; the reference takes its time in a debug build.
        for level in KernelLevel.supported.filter({ $0 != .reference }).prefix(2) {
            let other = VideoGenerator(
                model: generator.model, compute: Compute(level: level, pool: ThreadPool(threads: 3)))
            #expect(try other.video(request, material: material).frames == expected.frames)
        }
    }

    @Test func aLoopComesBackTheWayItWent() throws {
        var request = try request([])
        request.loop = true
        request.frames = 17
        let video = try generator.video(request)
        #expect(video.frames.count == 17 && video.latents.count == 5 * 24 * 16 * 16 * 4)
        let shape = try generator.model.description.latentShape(width: 64, height: 64, frames: 17)
        #expect(video.peakBytes <= generator.bytes(for: shape, guided: false, isLong: true))
        for (back, there) in [(16, 0), (13, 3), (9, 7)] {
            let same = decibels(video.frames[back], video.frames[there])
            #expect(same > 24 && same > decibels(video.frames[there], video.frames[8]), "\(back): \(same) dB")
        }
    }

    @Test func aModelWithoutAnEncoderSaysSo() throws {
        var description = generator.model.description
        description.autoencoder.encoder = nil
        #expect(
            description.abilities == ["images", "remix"]
                && generator.model.description.abilities.contains("input_reference"))
        var parameters = VideoParameters(prompt: "a frog")
        parameters.references = [.last]
        let error = #expect(throws: RequestError.self) { try RequestResolver(description).resolve(parameters) }
        #expect(error?.field == "end_reference" && error?.kind == .unsupported)
    }
}
