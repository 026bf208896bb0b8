import Engine
import Glibc
import Testing

@testable import Models
import Video

/// Tests that map model files run one after another: a process may only map 64.
@Suite(.serialized) enum OnModels {}

/// Where the goldens lie in the repository.
let goldens = String(#filePath.dropLast("ModelsTests/ModelFolder.swift".count)) + "Goldens"

let everyFile = [
    "autoencoder.safetensors", "preview.safetensors", "text_encoder.safetensors", "transformer.safetensors",
    "vocab.txt",
]

/// A copy of a golden's model folder that a test may break; removed at the end.
final class ModelFolder {
    let path: String
    private(set) var description: ModelDescription

    init(copying golden: String) throws {
        var template = Array("/tmp/filoscope-models-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let source = "\(goldens)/\(golden)/model"
        description = try ModelDescription(
            json: contents(of: "model.json", in: source, limit: ModelDescription.maximumBytes))
        for file in everyFile { try writeBytes(contents(of: file, in: source, limit: 1 << 24), file) }
        try writeDescription()
    }

    deinit {
        for file in everyFile + ["model.json"] {
            unlink("\(path)/\(file)")
            rmdir("\(path)/\(file)")
        }
        rmdir(path)
    }

    func bytes(_ file: String) throws -> [UInt8] { try contents(of: file, in: path, limit: 1 << 24) }

    /// Writes a file and leaves model.json as it was.
    func writeBytes(_ bytes: [UInt8], _ file: String) throws {
        let stream = try #require(fopen("\(path)/\(file)", "w"))
        #expect(fwrite(bytes, 1, bytes.count, stream) == bytes.count)
        fclose(stream)
    }

    /// Writes a file and tells model.json its new size and, for `verify()`, its hash.
    func replace(_ file: String, with bytes: [UInt8], hashed: Bool = false) throws {
        try writeBytes(bytes, file)
        description.files[file] = .init(
            bytes: bytes.count, sha256: hashed ? SHA256.hash(bytes) : String(repeating: "0", count: 64))
        try writeDescription()
    }

    func change(_ change: (inout ModelDescription) -> Void) throws {
        change(&description)
        try writeDescription()
    }

    private func writeDescription() throws { try writeBytes(description.encoded(), "model.json") }

    func tensors(_ file: String) throws -> [TestTensor] {
        let checkpoint = try Checkpoint(path: "\(path)/\(file)")
        return try checkpoint.names.map { name in
            let tensor = try checkpoint.tensor(name)
            return TestTensor(
                name: name, type: tensor.type.description, shape: tensor.shape,
                bytes: Array(UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount)))
        }
    }

    func change(_ file: String, _ change: (inout [TestTensor]) throws -> Void) throws {
        var tensors = try tensors(file)
        try change(&tensors)
        try replace(file, with: safetensors(tensors), hashed: true)
    }

    func remove(_ file: String) { unlink("\(path)/\(file)") }
}

struct TestTensor {
    var name: String
    var type: String
    var shape: [Int]
    var bytes: [UInt8]

    init(name: String, type: String, shape: [Int], bytes: [UInt8]) {
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
    }

    init<T>(_ name: String, _ type: String, _ shape: [Int], _ values: [T]) {
        self.init(name: name, type: type, shape: shape, bytes: values.withUnsafeBytes { Array($0) })
    }

    var floats: [Float] {
        bytes.withUnsafeBytes { raw in
            (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
    }
}

/// A safetensors file with every tensor at a multiple of 64 bytes and a filler at the end.
func safetensors(_ tensors: [TestTensor]) -> [UInt8] {
    var entries: [String] = []
    var data: [UInt8] = []
    var fillers = 0
    func append(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
        let end = data.count + bytes.count
        entries.append("\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(data.count),\(end)]}")
        data += bytes
    }
    func fill(_ count: Int) {
        guard count > 0 else { return }
        append("_pad.\(fillers)", "I8", [count], [UInt8](repeating: 0, count: count))
        fillers += 1
    }
    for tensor in tensors {
        append(tensor.name, tensor.type, tensor.shape, tensor.bytes)
        fill((64 - data.count % 64) % 64)
    }
    fill(64)
    var header = Array("{\(entries.joined(separator: ","))}".utf8)
    while (8 + header.count) % 64 != 0 { header.append(0x20) }
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    return length + header + data
}

/// The tensors with the matrices of blocks and layers, and the word embeddings, as int8 in the engine's layout.
func quantized(_ tensors: [TestTensor]) -> [TestTensor] {
    let biased = Set(tensors.filter { isMatrix($0) }.map { String($0.name.dropLast(7)) + ".bias" })
    return tensors.flatMap { tensor -> [TestTensor] in
        if tensor.name == "embeddings.word_embeddings.weight" {
            let (values, scale) = quantizeRows(tensor)
            return [
                TestTensor(tensor.name, "I8", tensor.shape, values),
                TestTensor("embeddings.word_embeddings.scale", "F32", [tensor.shape[0]], scale),
            ]
        }
        if biased.contains(tensor.name) {
            let padded = (tensor.shape[0] + 7) / 8 * 8
            let values = tensor.floats + [Float](repeating: 0, count: padded - tensor.shape[0])
            return [TestTensor(tensor.name, "F32", [padded], values)]
        }
        return isMatrix(tensor) ? blocks(tensor) : [tensor]
    }
}

private func isMatrix(_ tensor: TestTensor) -> Bool {
    tensor.shape.count == 2 && tensor.name.hasSuffix(".weight")
        && (tensor.name.hasPrefix("blocks.") || tensor.name.hasPrefix("encoder.layer."))
}

private func quantizeRows(_ tensor: TestTensor) -> (values: [Int8], scale: [Float]) {
    let (rows, columns, floats) = (tensor.shape[0], tensor.shape[1], tensor.floats)
    var values: [Int8] = []
    var scales: [Float] = []
    for row in 0..<rows {
        let line = floats[row * columns..<(row + 1) * columns]
        let scale = line.map(abs).reduce(0, max) / 127
        scales.append(scale)
        values += line.map { scale > 0 ? Int8(($0 / scale).rounded(.toNearestOrEven)) : 0 }
    }
    return (values, scales)
}

private func blocks(_ tensor: TestTensor) -> [TestTensor] {
    let (rows, columns) = (tensor.shape[0], tensor.shape[1])
    let (high, wide) = ((rows + 7) / 8 * 8, (columns + 15) / 16 * 16)
    let (values, scale) = quantizeRows(tensor)
    var blocked = [Int8](repeating: 0, count: high * wide)
    var sums = [Int32](repeating: 0, count: high)
    for row in 0..<rows {
        for column in 0..<columns {
            let value = values[row * columns + column]
            blocked[((row / 8 * (wide / 8) + column / 8) * 8 + row % 8) * 8 + column % 8] = value
            sums[row] += Int32(value)
        }
    }
    let name = String(tensor.name.dropLast(7))
    return [
        TestTensor(tensor.name, "I8", [high / 8, wide / 8, 8, 8], blocked),
        TestTensor("\(name).scale", "F32", [high], scale + [Float](repeating: 0, count: high - rows)),
        TestTensor("\(name).sum", "I32", [high], sums),
    ]
}
