import ArgumentParser
import Engine
import FoundationEssentials
import Generation
import Glibc
import Jobs
import Media
import Models
import Threads
import Video

struct Coherence: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Does what a model makes hold together? Long videos, extensions, loops, given frames, edits.",
        discussion: """
            A seam is the change from the last frame of one window to the first of the next, over the clip's own mean change from
            frame to frame; so is an extension's joint, and a loop's closure from its last frame to its first. Prompts come from the
            model's words, seeds are fixed, figures are medians over the prompts unless they say otherwise. What a clip shows is
            said by --judge; without one those rows are left out.
            """)
    @Argument(help: "The model's folder.") var folder: String
    @Option(help: "The evaluation's classifier, as train.judge writes it.") var judge: String?
    @Option(help: "Prompts of each part.") var prompts = 20
    @Option(help: "Seconds of a long video.") var seconds = 60.0
    @Option(help: "Where to write the sheet: rows of long videos, from their first frame to their last.") var sheet:
        String?
    @Flag(help: "Print JSON, one object, instead of text.") var json = false
    @OptionGroup var engine: EngineOptions

    private struct Row: Encodable {
        var part: String
        var figure: String
        var value: Double
        var unit: String
    }

    /// A prompt and what it should show, as the judge calls it.
    private struct Asked {
        var prompt: String
        var subject: String
    }

    /// A video as it was made, with what later ones go on from.
    private struct Made {
        var request: VideoRequest
        var frames: [Frame]
        var latents: [UInt8]
    }

    func validate() throws {
        guard (1...1000).contains(prompts) else { throw ValidationError("--prompts: 1 to 1000") }
    }

    func run() throws {
        let generator = VideoGenerator(model: try Model(folder: folder), compute: try engine.compute())
        let jury = try judge.map { try Judge(path: $0) }
        let asked = try asked(generator.model.description)
        var rows: [Row] = []
        for measure in [long, extensions, loops, firstFrames, edits] {
            let some = try measure(generator, jury, asked)
            rows += some
            if !json { for row in some { print("\(row.part)  \(row.figure)  \(fixed(row.value)) \(row.unit)") } }
        }
        if json { print(String(decoding: try JSONEncoder().encode(rows), as: UTF8.self)) }
    }

    /// Each subject, motion and place about equally often, in the plainest words.
    private func asked(_ description: ModelDescription) throws -> [Asked] {
        guard let words = description.words, let subjects = words.subjects, let motions = words.motions?.phrases,
            let places = words.places?.phrases
        else { throw ValidationError("\(folder): the card lists no subjects, motions and places to ask for") }
        return (0..<prompts).map { index in
            let subject = index * 5 % subjects.names.count
            let motion = motions[index % motions.count][0]
            let place = places[(index / 2 + index / places.count) % places.count][0]
            return Asked(
                prompt: "a \(subjects.phrases[subject][0]) \(motion) \(place)", subject: subjects.names[subject])
        }
    }

    // MARK: Parts

    private func long(_ generator: VideoGenerator, _ jury: Judge?, _ asked: [Asked]) throws -> [Row] {
        let description = generator.model.description
        let first = description.generation.frames.max
        let added = first - 1 - Windows.overlap * description.autoencoder.timeFactor
        var seams: [Double] = []
        var drifts: [Double] = []
        var flickers: [Double] = []
        var strips: [Frame] = []
        var (ends, subjects, motions, places) = ([Double](), [Double](), [Double](), [Double]())
        for (index, one) in asked.enumerated() {
            var parameters = VideoParameters(prompt: one.prompt)
            (parameters.seconds, parameters.seed) = (seconds, UInt64(index))
            let frames = try make(generator, parameters).frames
            let change = changes(frames)
            let borders = stride(from: first, to: frames.count, by: added).map { change[$0 - 1] }
            seams.append(mean(borders) / mean(change))
            flickers.append(flicker(frames))
            let count = min(Judge.frames, frames.count)
            drifts.append(psnr([still(frames.prefix(count))], [still(frames.suffix(count))]))
            strips += (0..<24).map { frames[$0 * (frames.count - 1) / 23] }
            guard let jury else { continue }
            let parts = stride(from: 0, through: frames.count - Judge.frames, by: Judge.frames).map {
                jury(frames[$0..<$0 + Judge.frames])
            }
            guard let begin = parts.first, let end = parts.last else { continue }
            ends.append(end.subject == one.subject ? 100 : 0)
            subjects.append(mean(parts.map { $0.subject == one.subject ? 100 : 0 }))
            motions.append(mean(parts.map { $0.motion == begin.motion ? 100 : 0 }))
            places.append(end.place == begin.place ? 100 : 0)
        }
        if let sheet {
            try save(JPEG.encode(ContactSheet.make(strips, columns: 24), quality: 92, subsampling: .full), sheet)
        }
        let part = "\(seconds) s"
        var rows = [
            Row(part: part, figure: "seam", value: median(seams), unit: "of the mean change"),
            Row(part: part, figure: "background, first to last window", value: median(drifts), unit: "dB"),
            Row(part: part, figure: "flicker", value: mean(flickers), unit: "of the contrast"),
        ]
        if jury != nil {
            rows += [
                Row(part: part, figure: "subject at the end, mean", value: mean(ends), unit: "%"),
                Row(part: part, figure: "subject throughout, mean", value: mean(subjects), unit: "%"),
                Row(part: part, figure: "motion as at the beginning, mean", value: mean(motions), unit: "%"),
                Row(part: part, figure: "place at the end as at the beginning, mean", value: mean(places), unit: "%"),
            ]
        }
        return rows
    }

    private func extensions(_ generator: VideoGenerator, _: Judge?, _ asked: [Asked]) throws -> [Row] {
        var joints: [VideoRequest.Source.Direction: [Double]] = [:]
        for (index, one) in asked.enumerated() {
            var parameters = VideoParameters(prompt: one.prompt)
            parameters.seed = UInt64(index)
            let source = try make(generator, parameters)
            for direction in VideoRequest.Source.Direction.allCases {
                parameters.source = .init(direction: direction, frames: source.request.frames, segments: [])
                let frames = try make(generator, parameters, VideoMaterial(latents: source.latents)).frames
                let change = changes(frames)
                let joint = direction == .forward ? source.frames.count : frames.count - source.frames.count
                joints[direction, default: []].append(change[joint - 1] / mean(change))
            }
        }
        return VideoRequest.Source.Direction.allCases.map {
            Row(
                part: "extensions", figure: "joint, \($0.rawValue)", value: median(joints[$0] ?? []),
                unit: "of the mean change")
        }
    }

    private func loops(_ generator: VideoGenerator, _: Judge?, _ asked: [Asked]) throws -> [Row] {
        let closures = try asked.enumerated().map { index, one in
            var parameters = VideoParameters(prompt: one.prompt)
            (parameters.loop, parameters.seed) = (true, UInt64(index))
            let frames = try make(generator, parameters).frames
            return change(frames[frames.count - 1], frames[0]) / mean(changes(frames))
        }
        return [
            Row(part: "loops", figure: "closure", value: median(closures), unit: "of the mean change"),
            Row(part: "loops", figure: "closure, worst", value: closures.max() ?? .nan, unit: "of the mean change"),
        ]
    }

    /// Given is the middle frame of another video of the same prompt.
    private func firstFrames(_ generator: VideoGenerator, _ jury: Judge?, _ asked: [Asked]) throws -> [Row] {
        var (back, own, shown) = ([Double](), [Double](), [Double]())
        for (index, one) in asked.enumerated() {
            var parameters = VideoParameters(prompt: one.prompt)
            parameters.seed = UInt64(1000 + index)
            let other = try make(generator, parameters).frames
            let given = other[other.count / 2]
            (parameters.seed, parameters.references) = (UInt64(index), [.first])
            let frames = try make(generator, parameters, VideoMaterial(pictures: [.first: given])).frames
            back.append(psnr([frames[0]], [given]))
            own.append(psnr([try generator.reconstruction(of: given)], [given]))
            if let jury, frames.count == Judge.frames {
                shown.append(jury(frames[...]).subject == one.subject ? 100 : 0)
            }
        }
        var rows = [
            Row(part: "first frame", figure: "comes back at", value: median(back), unit: "dB"),
            Row(part: "first frame", figure: "the autoencoder's own", value: median(own), unit: "dB"),
        ]
        if !shown.isEmpty {
            rows.append(Row(part: "first frame", figure: "subject, mean", value: mean(shown), unit: "%"))
        }
        return rows
    }

    /// To the next prompt's subject, in the same place.
    private func edits(_ generator: VideoGenerator, _ jury: Judge?, _ asked: [Asked]) throws -> [Row] {
        var rows: [Row] = []
        for strength in [0.3, 0.5, 0.7, 0.9] {
            var (kept, changed) = ([Double](), [Double]())
            for (index, one) in asked.enumerated() {
                var parameters = VideoParameters(prompt: one.prompt)
                parameters.seed = UInt64(index)
                let source = try make(generator, parameters)
                let next = asked[(index + 1) % asked.count]
                parameters.prompt = next.prompt
                parameters.seed = UInt64(1000 + index)
                parameters.edit = .init(strength: strength, frames: source.request.frames, source: .latents)
                let frames = try make(generator, parameters, VideoMaterial(latents: source.latents)).frames
                kept.append(psnr(frames, source.frames))
                if let jury, frames.count == Judge.frames {
                    changed.append(jury(frames[...]).subject == next.subject ? 100 : 0)
                }
            }
            let part = "edit, strength \(strength)"
            rows.append(Row(part: part, figure: "as it was", value: median(kept), unit: "dB"))
            if !changed.isEmpty {
                rows.append(Row(part: part, figure: "new subject, mean", value: mean(changed), unit: "%"))
            }
        }
        return rows
    }

    // MARK: Making and measuring

    private func make(
        _ generator: VideoGenerator, _ parameters: VideoParameters, _ material: VideoMaterial = VideoMaterial()
    ) throws -> Made {
        let request = try generator.resolve(parameters)
        let observer = LatentObserver()
        _ = try generator.generate(request, material: material, observer: observer)
        return observer.state.withLock { Made(request: request, frames: $0.frames, latents: $0.bytes) }
    }

    /// Mean absolute difference of two frames, in levels.
    private func change(_ a: Frame, _ b: Frame) -> Double {
        var sum = 0
        for (x, y) in zip(a.pixels, b.pixels) { sum += abs(Int(x) - Int(y)) }
        return Double(sum) / Double(a.pixels.count)
    }

    /// From each frame to the next.
    private func changes(_ frames: [Frame]) -> [Double] { zip(frames, frames.dropFirst()).map { change($0, $1) } }

    /// What does not move: each pixel's median in time.
    private func still(_ frames: ArraySlice<Frame>) -> Frame {
        let pixels = frames[frames.startIndex].pixels.indices.map { index in
            frames.map { $0.pixels[index] }.sorted()[frames.count / 2]
        }
        return Frame(size: frames[frames.startIndex].size, pixels: pixels)
    }

    /// Mean second difference in time over the frames' own deviation: steady motion has little, flicker much.
    private func flicker(_ frames: [Frame]) -> Double {
        var (second, sum, squares) = (0, 0.0, 0.0)
        for index in 1..<max(1, frames.count - 1) {
            let (a, b, c) = (frames[index - 1].pixels, frames[index].pixels, frames[index + 1].pixels)
            for place in b.indices { second += abs(Int(a[place]) + Int(c[place]) - 2 * Int(b[place])) }
        }
        let count = Double(frames[0].pixels.count)
        for frame in frames {
            for pixel in frame.pixels {
                sum += Double(pixel)
                squares += Double(pixel) * Double(pixel)
            }
        }
        let all = count * Double(frames.count)
        let deviation = max(0, squares / all - (sum / all) * (sum / all)).squareRoot()
        return Double(second) / (count * Double(max(1, frames.count - 2))) / max(deviation, 0.255)
    }

    private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
}

/// Keeps frames and latents, the latter as a job does.
private final class LatentObserver: GenerationObserver {
    struct State {
        var frames: [Frame] = []
        /// By channel, then by latent frame.
        var latents: [[[Float]]] = []

        var bytes: [UInt8] {
            latents.flatMap { channel in
                channel.flatMap { area in
                    area.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
                }
            }
        }
    }
    let state = Locked(State())
    var isCancelled: Bool { false }
    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int) {}
    func finished(frames: [Frame]) { state.withLock { $0.frames += frames } }
    func finished(latent: [Float], channels: Int, at index: Int, of count: Int) {
        let area = latent.count / channels
        state.withLock { state in
            if state.latents.isEmpty { state.latents = Array(repeating: [], count: channels) }
            for channel in 0..<channels {
                state.latents[channel].append(Array(latent[channel * area..<(channel + 1) * area]))
            }
        }
    }
}
