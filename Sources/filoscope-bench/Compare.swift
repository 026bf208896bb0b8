import ArgumentParser
import Engine
import Generation
import Glibc
import Media
import Models
import Video

struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare two folders of one model, as int8 with float32: whole videos, and single passes.",
        discussion: """
            Videos: PSNR over prompt and seed pairs at the card's steps and guidance. Passes: cosine of the transformer's
            outputs, unguided, at five timesteps for eight prompts. The sheet shows, from left to right, the first, the second,
            and their difference times eight.
            """)
    @Argument(help: "The reference, as float32.") var reference: String
    @Argument(help: "The other.") var other: String
    @Option(help: "Prompt and seed pairs.") var pairs = 20
    @Option(help: "Where to write the sheet.") var sheet: String?
    @OptionGroup var engine: EngineOptions

    private static let motions = ["moving right", "moving left", "rising up", "bouncing", "spinning", "growing bigger"]

    func run() throws {
        let compute = try engine.compute()
        let first = VideoGenerator(model: try Model(folder: reference), compute: compute)
        let second = VideoGenerator(model: try Model(folder: other), compute: compute)
        let prompts = prompts(first.model.description.words)

        var cosines: [Double] = []
        for (index, prompt) in prompts.prefix(8).enumerated() {
            for timestep: Float in [1000, 900, 700, 400, 100] {
                let a = try first.predict(prompt, seed: UInt64(index), timestep: timestep)
                let b = try second.predict(prompt, seed: UInt64(index), timestep: timestep)
                cosines.append(cosine(a, b))
            }
        }
        print("passes  cosine median \(fixed(median(cosines), 5)), worst \(fixed(cosines.min() ?? .nan, 5))")

        var ratios: [Double] = []
        var rows: [Frame] = []
        var columns = 1
        for index in 0..<pairs {
            let request = try first.request(prompts[index], seed: UInt64(1000 + index), steps: nil, guidance: nil)
            let a = try first.frames(request).frames
            let b = try second.frames(request).frames
            ratios.append(psnr(a, b))
            print("video   \(fixed(ratios[index])) dB  \(prompts[index])")
            if index < 8 {
                let every = stride(from: 0, to: a.count, by: 4).map { $0 }
                rows += every.map { a[$0] } + every.map { b[$0] } + every.map { difference(a[$0], b[$0]) }
                columns = every.count * 3
            }
        }
        print("videos  PSNR median \(fixed(median(ratios))) dB, worst \(fixed(ratios.min() ?? .nan)) dB")
        if let sheet, !rows.isEmpty {
            let picture = try ContactSheet.make(rows, columns: columns)
            try save(JPEG.encode(picture, quality: 95, subsampling: .full), sheet)
        }
    }

    private func prompts(_ words: ModelDescription.Words?) -> [String] {
        let subjects = words?.subjects?.names ?? ["apple"]
        let places = words?.places?.names ?? ["sky"]
        return (0..<max(pairs, 8)).map { index in
            let motion = Self.motions[index % Self.motions.count]
            return "a \(subjects[index % subjects.count]) \(motion) in the \(places[index / 2 % places.count])"
        }
    }

    private func difference(_ a: Frame, _ b: Frame) -> Frame {
        let pixels = zip(a.pixels, b.pixels).map { UInt8(min(255, abs(Int($0) - Int($1)) * 8)) }
        return Frame(size: a.size, pixels: pixels)
    }
}
