import ArgumentParser
import Engine
import Generation
import Glibc
import Jobs
import Models
import Video

struct Report: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a text file about this machine, for the owner of a board to send in.",
        discussion:
            "CPU, kernel levels, limits, linears, attention, and one video of the bundled model. Minutes on a small board."
    )
    @Option(help: "The file.") var out = "filoscope-report.txt"
    @Option(help: "A model's folder; its video is left out when it is not there.") var model = "Models/nano"
    @OptionGroup var engine: EngineOptions
    @Option(help: "Measurements of each.") var repetitions = 7

    func run() throws {
        let compute = try engine.compute()
        var text = "filoscope-bench report, version \(FiloscopeBench.configuration.version)\n\n"
        for (name, value) in machine() where !value.isEmpty { text += "\(name): \(value)\n" }
        text += "levels: \(KernelLevel.supported.map(\.name).joined(separator: ", ")); used: \(compute.level.name)\n"
        text += "threads: \(compute.pool.threads)\n\n"
        complain("limits …")
        LimitsBench.lines(compute, repetitions: repetitions) { text += $0.text(json: false) + "\n" }
        complain("linear …")
        try LinearBench.lines(LinearBench.shapes, compute, repetitions: repetitions) {
            text += $0.text(json: false) + "\n"
        }
        complain("attention …")
        // The bundled model's heads, at the tokens of its largest video and more.
        text +=
            try Attention.line(
                tokens: 800, keys: 800, heads: 3, head: 64, comparesFloats: true, compute, repetitions: repetitions
            ).text(json: false) + "\n"
        complain("a video …")
        text += "\n" + (try video(compute)) + "\n"
        try save(Array(text.utf8), out)
        print(out)
    }

    private func machine() -> [(String, String)] {
        var names = utsname()
        uname(&names)
        func string<T>(_ tuple: T) -> String {
            withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        let cpu = firstLines("/proc/cpuinfo", ["model name", "Hardware", "CPU implementer", "CPU part", "Features"])
        return [
            ("board", read("/proc/device-tree/model", limit: 256)),
            ("system", "\(string(names.sysname)) \(string(names.release)) \(string(names.machine))"),
        ] + cpu + firstLines("/proc/meminfo", ["MemTotal"])
            + firstLines("/etc/os-release", ["PRETTY_NAME"], separator: "=")
            + [("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", limit: 64))]
    }

    private func firstLines(_ path: String, _ keys: [String], separator: Character = ":") -> [(String, String)] {
        let lines = read(path, limit: 1 << 16).split(separator: "\n")
        return keys.compactMap { key in
            guard let line = lines.first(where: { $0.hasPrefix(key) }), let cut = line.firstIndex(of: separator)
            else { return nil }
            return (key, String(line[line.index(after: cut)...].drop { $0 == " " || $0 == "\t" }))
        }
    }

    /// The beginning of a small file without its line's end; empty when there is none.
    private func read(_ path: String, limit: Int) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = fread(&bytes, 1, limit, file)
        var text = bytes[..<count]
        while let last = text.last, last == 0 || last == 10 { text.removeLast() }
        return String(decoding: text, as: UTF8.self)
    }

    private func video(_ compute: Compute) throws -> String {
        guard access("\(model)/model.json", R_OK) == 0 else { return "video: no model in \(model)" }
        let generator = VideoGenerator(model: try Model(folder: model), compute: compute)
        let request = try generator.request("a red apple on a green meadow", seed: 1, steps: nil, guidance: nil)
        let start = seconds()
        let (frames, video) = try generator.frames(request)
        let taken = seconds() - start
        return "video: \(generator.model.description.name), \(request.size), \(request.frames) frames, "
            + "\(request.steps) steps: \(fixed(taken, 3)) s, peak \(video.peakBytes) bytes, "
            + "frames_sha256 \(Frame.sha256(of: frames))"
    }
}
