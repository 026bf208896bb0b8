import Glibc
import Testing

@testable import Engine

/// Whether a test can run in a process of its own: not where this program runs in an emulator, whose system can't start it.
let startsItself = getenv("FILOSCOPE_EMULATED") == nil
let emulated: Comment = "an emulated program can't start itself again"

/// SplitMix64 (Steele et al., OOPSLA'14): the same numbers for the same seed, on every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
        (0..<count).map { _ in Float.random(in: range, using: &self) }
    }
}

/// A file of its own that goes away with the value.
final class TemporaryFile {
    let path: String

    init(_ bytes: [UInt8]) throws {
        var template = Array("/tmp/filoscope-engine-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
    }

    deinit { unlink(path) }
}

/// Writes a safetensors file as the converter does: aligned tensors, fillers between them and one of 64 bytes at the end.
struct CheckpointWriter {
    struct Entry {
        var name: String
        var dtype: String
        var shape: [Int]
        var bytes: [UInt8]
    }

    var entries: [Entry] = []

    mutating func add(_ name: String, _ values: [Float], _ shape: [Int]) {
        entries.append(Entry(name: name, dtype: "F32", shape: shape, bytes: values.withUnsafeBytes { Array($0) }))
    }

    mutating func add(_ name: String, _ values: [Int32], _ shape: [Int]) {
        entries.append(Entry(name: name, dtype: "I32", shape: shape, bytes: values.withUnsafeBytes { Array($0) }))
    }

    mutating func add(_ name: String, _ values: [Int8], _ shape: [Int]) {
        entries.append(Entry(name: name, dtype: "I8", shape: shape, bytes: values.withUnsafeBytes { Array($0) }))
    }

    /// A linear layer in int8: weights are [outputs, inputs] in -127...127, blocked here.
    mutating func addInt8Linear(
        _ name: String, _ weight: [Int8], scale: [Float], bias: [Float]?, inputs: Int, outputs: Int
    ) {
        let (paddedIn, paddedOut) = ((inputs + 15) / 16 * 16, (outputs + 7) / 8 * 8)
        var blocks = [Int8](repeating: 0, count: paddedOut * paddedIn)
        var sums = [Int32](repeating: 0, count: paddedOut)
        for o in 0..<outputs {
            for i in 0..<inputs {
                let value = weight[o * inputs + i]
                blocks[(o / 8 * (paddedIn / 8) + i / 8) * 64 + o % 8 * 8 + i % 8] = value
                sums[o] += Int32(value)
            }
        }
        let padding = [Float](repeating: 0, count: paddedOut - outputs)
        add(name + ".weight", blocks, [paddedOut / 8, paddedIn / 8, 8, 8])
        add(name + ".scale", scale + padding, [paddedOut])
        add(name + ".sum", sums, [paddedOut])
        if let bias { add(name + ".bias", bias + padding, [paddedOut]) }
    }

    func bytes(closingFiller: Bool = true) -> [UInt8] {
        var data: [UInt8] = []
        var members: [String] = ["\"__metadata__\":{\"filoscope.layout\":\"1\"}"]
        var fillers = 0
        func member(_ name: String, _ dtype: String, _ shape: [Int], _ count: Int) {
            let dimensions = shape.map(String.init).joined(separator: ",")
            members.append(
                "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":[\(dimensions)],"
                    + "\"data_offsets\":[\(data.count),\(data.count + count)]}")
        }
        func fill(_ count: Int) {
            guard count > 0 else { return }
            member("_pad.\(fillers)", "I8", [count], count)
            fillers += 1
            data += [UInt8](repeating: 0, count: count)
        }
        for entry in entries {
            member(entry.name, entry.dtype, entry.shape, entry.bytes.count)
            data += entry.bytes
            fill((64 - data.count % 64) % 64)
        }
        if closingFiller { fill(64) }
        return safetensors(header: "{" + members.joined(separator: ",") + "}", data: data)
    }

    func checkpoint() throws -> Checkpoint {
        let file = try TemporaryFile(bytes())
        return try Checkpoint(path: file.path)
    }
}

/// A safetensors file of this header, spaces after it so that the data starts 64-byte aligned.
func safetensors(header: String, data: [UInt8], align: Bool = true) -> [UInt8] {
    var text = Array(header.utf8)
    if align { text += [UInt8](repeating: 0x20, count: (64 - (8 + text.count) % 64) % 64) }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text + data
}

/// Scratch of a linear.
func withScratch<R>(_ byteCount: Int, _ body: (UnsafeMutableRawPointer) throws -> R) rethrows -> R {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
    defer { scratch.deallocate() }
    return try body(scratch)
}

/// The level to test at, and every other one that must agree with it bit for bit.
func computes(threads: [Int] = [1, 2, 4]) -> [Compute] {
    KernelLevel.supported.flatMap { level in
        threads.map { Compute(level: level, pool: ThreadPool(threads: $0)) }
    }
}

/// Floats to be compared bit by bit. No collection: the difference of two long ones would be searched for minutes before a
/// test says that they differ.
struct Bits: Equatable, CustomTestStringConvertible {
    let patterns: [UInt32]

    var testDescription: String {
        "\(patterns.count) floats, the first "
            + patterns.prefix(4).map { "\(Float(bitPattern: $0))" }.joined(separator: " ")
    }
}

func bits(_ values: [Float]) -> Bits { Bits(patterns: values.map(\.bitPattern)) }

/// The largest |a - b| relative to the largest |b|.
func relativeError(_ a: [Float], _ b: [Double]) -> Double {
    let scale = b.map(abs).max() ?? 1
    return zip(a, b).map { abs(Double($0) - $1) }.max()! / max(scale, 1e-30)
}
