import ArgumentParser
import Engine
import Models
import Video

struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time the autoencoder's decoder on random latents, a latent frame at a time.",
        discussion: """
            Without a model folder: int8 with random weights, of TAEHV's original dimensions. Operations are those of the
            reference implementation, which makes frames from pixels already enlarged, and frames that are thrown away.
            """)
    @Argument(help: "A model's folder.") var folder: String?
    @Option(help: "Of the pictures, in pixels.") var width = 256
    @Option(help: "Of the pictures, in pixels.") var height = 160
    @Option(help: "Pictures.") var frames = 17
    @Option(help: "Repetitions, after one that is not counted.") var runs = 3
    @Flag(help: "One JSON object instead of text.") var json = false
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard (1...100).contains(runs), (1...1 << 16).contains(frames) else {
            throw ValidationError("--runs: 1 to 100, --frames: 1 to 65536")
        }
    }

    func run() throws {
        let autoencoder =
            try folder.map { try Model(folder: $0).autoencoder } ?? RandomAutoencoder.make(RandomAutoencoder.original)
        let configuration = autoencoder.configuration
        let (space, time) = (configuration.spaceFactor, configuration.timeFactor)
        guard width > 0, height > 0, width % space == 0, height % space == 0, (frames - 1) % time == 0 else {
            throw ValidationError("--width and --height: multiples of \(space); --frames: 1 and multiples of \(time)")
        }
        let (high, wide, latentFrames) = (height / space, width / space, (frames - 1) / time + 1)
        let compute = try engine.compute()
        var plan = ArenaPlan()
        autoencoder.planStream(latentHeight: high, latentWidth: wide, in: &plan)
        let arena = try Arena(byteCount: plan.byteCount)
        var latent = [Float](repeating: 0, count: configuration.latentChannels * high * wide)
        var (times, coreTimes): ([Double], [Double]) = ([], [])
        var checksum = ""
        let watch = Stopwatch(compute: compute)
        var peaks: [Double] = []
        for run in 0...runs {
            arena.rewind(to: 0)
            let stream = try autoencoder.stream(latentHeight: high, latentWidth: wide, compute: compute, arena: arena)
            var pictures: [Frame] = []
            let (start, coreStart) = (seconds(), coreSeconds())
            for frame in 0..<latentFrames {
                Random.normal(seed: 1, stream: UInt64(frame), count: latent.count, into: &latent)
                try stream.push(latent) { if run == 0 { pictures.append($0) } }
            }
            if run == 0 {
                checksum = Frame.sha256(of: pictures)
            } else {
                times.append(seconds() - start)
                coreTimes.append(coreSeconds() - coreStart)
                peaks.append(watch.int8Peak(milliseconds: 20))
            }
        }
        let (taken, core) = (median(times), median(coreTimes))
        let graph = Double(autoencoder.operations(latentHeight: high, latentWidth: wide, latentFrames: latentFrames))
        var line = Line("decode")
        line.add("frames", frames)
        line.add("seconds", taken, digits: 4)
        line.add("core_seconds", core, digits: 4)
        line.add("gop", graph * 1e-9)
        line.add("gops", graph / taken * 1e-9)
        line.add("gops_per_core", graph / core * 1e-9)
        // The peak is that of all threads.
        line.add("percent_of_peak", 100 * graph / core / (Samples(peaks).median / Double(engine.threads)))
        line.add("p90_seconds", Samples(times).quantile(0.9), digits: 4)
        line.add("arena_bytes", plan.byteCount)
        line.add("frames_sha256", checksum)
        line.add(compute)
        print(line.text(json: json))
    }
}
