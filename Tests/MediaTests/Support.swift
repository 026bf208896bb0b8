import Glibc
import Video

/// A ball that rolls over a gradient: smooth, so that codecs can be held to a figure.
func clip(_ width: Int, _ height: Int, frames: Int) -> [Frame] {
    (0..<frames).map { index in
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                let (dx, dy) = (x - width * (index + 1) / (frames + 1), y - height / 2)
                let ball = exp(-Double(dx * dx + dy * dy) / Double(width * width / 16 + 1))
                for (near, far) in [(220, 60 + 120 * x / width), (40, 60 + 120 * y / height), (30, 140)] {
                    pixels.append(UInt8(ball * Double(near) + (1 - ball) * Double(far)))
                }
            }
        }
        return Frame(size: Size(width: width, height: height)!, pixels: pixels)
    }
}

func psnr(_ a: [UInt8], _ b: [UInt8]) -> Double {
    let error = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
    return -10 * log10(max(error, 1e-9) / Double(a.count) / 65025)
}

/// The same numbers again for the same seed.
struct Sequence {
    var state: UInt64

    /// 0..<limit
    mutating func next(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
    }

    /// `bytes` with some of them overwritten and, one time in four, the end cut off.
    mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...next(8) { bytes[next(bytes.count)] = UInt8(next(256)) }
        if next(4) == 0 { bytes.removeLast(next(bytes.count)) }
        return bytes
    }
}

/// ffmpeg, as somebody else's opinion about our files.
enum Tool {
    static let hasFFmpeg = system("command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null") == 0

    struct Failure: Error { var command: String }

    /// Runs `command` with `bytes` in the file `$IN`; gives what it writes to standard output.
    static func run(_ command: String, on bytes: [UInt8], _ ending: String) throws -> [UInt8] {
        let path = "/tmp/filoscope-media-\(getpid())-\(UInt32.random(in: 0 ... .max)).\(ending)"
        defer { unlink(path) }
        guard let file = fopen(path, "wb") else { throw Failure(command: path) }
        let written = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, written == bytes.count, let pipe = popen("IN=\(path); \(command) </dev/null", "r")
        else { throw Failure(command: command) }
        var output: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&part, 1, part.count, pipe), count > 0 { output += part[..<count] }
        guard pclose(pipe) == 0 else { throw Failure(command: command) }
        return output
    }

    /// The frames as ffmpeg decodes them, RGB, one after another.
    static func frames(_ bytes: [UInt8], _ ending: String) throws -> [UInt8] {
        try run("ffmpeg -v error -i $IN -f rawvideo -pix_fmt rgb24 -", on: bytes, ending)
    }

    /// `width=64` and so on, of the first video stream.
    static func facts(_ bytes: [UInt8], _ ending: String) throws -> Set<String> {
        let entries = "codec_name,width,height,r_frame_rate,avg_frame_rate,nb_read_frames,pix_fmt"
        let text = try run(
            "ffprobe -v error -count_frames -select_streams v:0 -show_entries stream=\(entries) -of default=nw=1 $IN",
            on: bytes, ending)
        return Set(String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init))
    }
}
