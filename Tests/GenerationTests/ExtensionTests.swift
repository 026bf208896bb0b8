import Engine
import Jobs
import Models
import Testing
import Threads
import Video

@testable import Generation

private let models = String(#filePath.dropLast("Tests/GenerationTests/ExtensionTests.swift".count)) + "Models"

/// Videos that go on from others, with the model that is shipped.
@Suite struct ExtensionTests {
    let generator: VideoGenerator

    init() throws {
        generator = VideoGenerator(
            model: try Model(folder: "\(models)/nano"), compute: Compute(level: .best, pool: ThreadPool(threads: 2)))
    }

    func request(_ change: (inout VideoParameters) -> Void) throws -> VideoRequest {
        var parameters = VideoParameters(prompt: "a frog moving right at night")
        parameters.seed = 7
        parameters.steps = 1
        parameters.guidance = 1
        change(&parameters)
        return try generator.resolve(parameters)
    }

    @Test(arguments: VideoRequest.Source.Direction.allCases)
    func theSourceComesBackToTheBit(_ direction: VideoRequest.Source.Direction) throws {
        let first = try request { $0.seconds = 1 }
        let source = try generator.video(first)
        let second = try request {
            $0.source = .init(direction: direction, frames: first.frames, segments: [])
            $0.seconds = 1
        }
        #expect(second.frames == 17 && second.source?.segments == [3])
        let longer = try generator.video(
            second, material: VideoMaterial(latents: source.latents))
        #expect(longer.frames.count == 17)
        let (kept, added) =
            direction == .forward
            ? (longer.frames.prefix(9), longer.frames.suffix(8)) : (longer.frames.suffix(9), longer.frames.prefix(8))
        #expect(Array(kept) == source.frames)
        #expect(Set(added.map(\.pixels)).count == 8)
        #expect(second.segments == (direction == .forward ? [5] : [3, 3]))
        #expect(longer.latents.count == (second.segments ?? []).reduce(0, +) * 24 * 16 * 16 * 4)

        // And once more in front of that, which has two segments when it grew backwards.
        let third = try request {
            $0.source = .init(direction: .backward, frames: 17, segments: second.segments ?? [])
            $0.seconds = 0.5
        }
        let longest = try generator.video(
            third, material: VideoMaterial(latents: longer.latents))
        #expect(longest.frames.count == 21 && Array(longest.frames.suffix(17)) == longer.frames)
    }

    @Test func windowsFollowEachOther() throws {
        let short = try request { $0.seconds = 2.125 }
        let long = try request { $0.seconds = 4 }
        #expect(long.frames == 33 && long.windows == 3 && long.allSteps == 3 && short.windows == nil)
        let watched = Watched()
        let video = try generator.video(long, observer: watched)
        #expect(video.frames.count == 33)
        #expect(Array(video.frames.prefix(17)) == (try generator.video(short)).frames)
        // What is finished comes while the rest is made: of the last window nothing before its last step.
        #expect(
            watched.events.withLock { $0 } == [.step(1), .frames(17), .step(2), .frames(29), .step(3), .frames(33)])
        let shape = try generator.model.description.latentShape(width: 64, height: 64, frames: 17)
        #expect(video.peakBytes <= generator.bytes(for: shape, guided: false, isLong: true))
    }

    @Test func latentsOfAnotherLengthFail() throws {
        let request = try request { $0.source = .init(direction: .forward, frames: 9, segments: [3]) }
        #expect(throws: GenerationError.self) {
            try generator.video(
                request, material: VideoMaterial(latents: [UInt8](repeating: 0, count: 100)))
        }
    }

    @Test func whatCanNotBeExtendedIsSaid() throws {
        typealias Change = (inout VideoParameters) -> Void
        let changes: [(String, Change)] = [
            ("direction", { $0.source = .init(direction: .backward, frames: 1, segments: []) }),
            (
                "seconds",
                {
                    $0.source = .init(direction: .forward, frames: 477, segments: [])
                    $0.seconds = 2
                }
            ),
            ("seconds", { $0.seconds = 61 }),
            (
                "input_reference",
                {
                    $0.source = .init(direction: .forward, frames: 9, segments: [])
                    $0.references = [.first]
                }
            ),
        ]
        for (field, change) in changes {
            let error = #expect(throws: RequestError.self) { try request(change) }
            #expect(error?.field == field && error?.kind == .unsupported)
        }
        #expect(try request { $0.isImage = true }.frames == 1)
    }
}
