import ArgumentParser
import Engine
import FoundationEssentials
import Generation
import Glibc
import Jobs
import Models
import Threads
import Video

struct EngineOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Threads that compute.", valueName: "N"))
    var threads = 1
    @Option(help: ArgumentHelp("A kernel level of `filoscope-bench levels`; default: the best.", valueName: "name"))
    var level: String?

    func validate() throws {
        guard (1...64).contains(threads) else { throw ValidationError("--threads: 1 to 64") }
    }

    func compute() throws -> Compute {
        let forced = level ?? getenv(KernelLevel.environmentVariable).map { String(cString: $0) }
        return Compute(level: try KernelLevel.selected(forced), pool: ThreadPool(threads: threads))
    }
}

/// Lets everything pass.
struct SilentObserver: GenerationObserver {
    var isCancelled: Bool { false }
    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int) {}
    func finished(frames: [Frame]) {}
    func finished(latent: [Float], channels: Int, at index: Int, of count: Int) {}
}

extension VideoGenerator {
    /// All frames of a video.
    func frames(
        _ request: VideoRequest, noise: [Float]? = nil
    ) throws(GenerationError) -> (frames: [Frame], video: GeneratedVideo) {
        let observer = CollectingObserver()
        let video = try generate(request, noise: noise, observer: observer)
        return (observer.frames.withLock { $0 }, video)
    }
}

private final class CollectingObserver: GenerationObserver {
    let frames = Locked<[Frame]>([])
    var isCancelled: Bool { false }
    func finished(step: Int, of steps: Int, preview: Frame, previewIndex: Int) {}
    func finished(latent: [Float], channels: Int, at index: Int, of count: Int) {}
    func finished(frames: [Frame]) { self.frames.withLock { $0 += frames } }
}

func complain(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}

func save(_ bytes: [UInt8], _ path: String) throws {
    guard let file = fopen(path, "wb") else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
    let done = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, done == bytes.count else { throw ValidationError("\(path) could not be written") }
}

/// A safetensors file of one tensor.
func safetensors(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) throws -> [UInt8] {
    try safetensors([(name, type, shape, bytes)])
}

/// A safetensors file as the engine maps it: every tensor aligned to 64 bytes, a filler behind each.
func safetensors(_ tensors: [(name: String, type: String, shape: [Int], bytes: [UInt8])]) throws -> [UInt8] {
    struct Entry: Encodable {
        var dtype: String
        var shape: [Int]
        var data_offsets: [Int]
    }
    var entries: [String: Entry] = [:]
    var data: [UInt8] = []
    func add(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
        entries[name] = Entry(dtype: type, shape: shape, data_offsets: [data.count, data.count + bytes.count])
        data += bytes
    }
    for (index, tensor) in tensors.enumerated() {
        add(tensor.name, tensor.type, tensor.shape, tensor.bytes)
        if tensors.count == 1 { break }
        let filler = 128 - data.count % 64
        add("_pad.\(index)", "U8", [filler], [UInt8](repeating: 0, count: filler))
    }
    var text = Array(try JSONEncoder().encode(entries))
    text += [UInt8](repeating: UInt8(ascii: " "), count: (64 - (text.count + 8) % 64) % 64)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text + data
}

/// Of 8-bit pixels, in dB; 99 when they are equal.
func psnr(_ a: [Frame], _ b: [Frame]) -> Double {
    var sum = 0
    var count = 0
    for (one, other) in zip(a, b) {
        for (x, y) in zip(one.pixels, other.pixels) { sum += (Int(x) - Int(y)) * (Int(x) - Int(y)) }
        count += one.pixels.count
    }
    return sum == 0 ? 99 : -10 * log10(Double(sum) / Double(count) / 65025)
}

func cosine(_ a: [Float], _ b: [Float]) -> Double {
    var (dot, left, right) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
        dot += Double(x) * Double(y)
        left += Double(x) * Double(x)
        right += Double(y) * Double(y)
    }
    return dot / (left * right).squareRoot()
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

func fixed(_ value: Double, _ digits: Int = 2) -> String {
    let scale = pow(10, Double(digits))
    return "\((value * scale).rounded() / scale)"
}

/// Of all threads of this process: what others do on a shared machine does not count.
func coreSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
