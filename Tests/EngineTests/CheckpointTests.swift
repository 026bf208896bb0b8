import Testing

@testable import Engine

@Suite struct CheckpointTests {
    static func sample() -> CheckpointWriter {
        var writer = CheckpointWriter()
        writer.add("a", [1, 2, 3, 4, 5, 6] as [Float], [2, 3])
        writer.add("b", [Int8](repeating: 7, count: 100), [10, 10])
        writer.add("c", [-1, 1 << 20] as [Int32], [2])
        writer.entries.append(.init(name: "half", dtype: "BF16", shape: [3], bytes: [0, 1, 2, 3, 4, 5]))
        return writer
    }

    @Test func readsWhatWasWritten() throws {
        let checkpoint = try Self.sample().checkpoint()
        #expect(checkpoint.names == ["a", "b", "c", "half"])
        #expect(checkpoint.metadata == ["filoscope.layout": "1"])
        let a = try checkpoint.tensor("a", .f32, shape: [2, 3])
        #expect((0..<6).map { a.floats[$0] } == [1, 2, 3, 4, 5, 6])
        #expect(try checkpoint.tensor("b").int8s[99] == 7)
        #expect(try checkpoint.tensor("c").int32s[1] == 1 << 20)
        #expect(try checkpoint.tensor("half").type == .opaque("BF16"))
        #expect(checkpoint.has("a") && !checkpoint.has("d"))
        for name in checkpoint.names {
            let tensor = try checkpoint.tensor(name)
            #expect(Int(bitPattern: tensor.base) % 64 == 0)
            #expect(tensor.readableBytesAfter >= 64)
        }
        checkpoint.prefetch(prefix: "b")
        try checkpoint.checkUnchanged()
        try checkpoint.checkWeights()
    }

    @Test func wantsTypeAndShapeAsAsked() throws {
        let file = try TemporaryFile(Self.sample().bytes())
        let checkpoint = try Checkpoint(path: file.path)
        #expect(throws: CheckpointError.missing(file: file.path, tensor: "d")) { try checkpoint.tensor("d") }
        let type = CheckpointError.wrongType(file: file.path, tensor: "a", type: .f32, expected: .i8)
        #expect(type.description == "\(file.path): tensor 'a' is F32, expected I8")
        #expect(throws: type) { try checkpoint.tensor("a", .i8, shape: [2, 3]) }
        let shape = CheckpointError.wrongShape(file: file.path, tensor: "a", shape: [2, 3], expected: [3, 2])
        #expect(shape.description == "\(file.path): tensor 'a' has shape [2, 3], expected [3, 2]")
        #expect(throws: shape) { try checkpoint.tensor("a", .f32, shape: [3, 2]) }
    }

    /// In whole blocks of words and behind the last one; 0x80 next to bytes that look like borrows.
    @Test(arguments: [0, 7, 4095, 4096, 8191, 8999]) func refusesTheLeastInt8(element: Int) throws {
        var generator = SeededGenerator(seed: UInt64(element))
        var values = (0..<9000).map { _ in Int8.random(in: -127...127, using: &generator) }
        values.replaceSubrange(4097..<4300, with: repeatElement(-127, count: 203))
        var writer = CheckpointWriter()
        writer.add("fine", values, [9000])
        values[element] = -128
        writer.add("w", values, [9000])
        let file = try TemporaryFile(writer.bytes())
        let checkpoint = try Checkpoint(path: file.path)
        let error = #expect(throws: CheckpointError.self) { try checkpoint.checkWeights() }
        let message = "\(file.path): tensor 'w' holds -128 at element \(element); weights are -127...127"
        #expect(error?.description == message)
    }

    @Test func noticesAChangedFile() throws {
        let file = try TemporaryFile(Self.sample().bytes())
        let checkpoint = try Checkpoint(path: file.path)
        try checkpoint.checkUnchanged()
        #expect(truncateFile(file.path, to: checkpoint.byteCount - 1))
        #expect(throws: CheckpointError.changed(file: file.path)) { try checkpoint.checkUnchanged() }
    }

    struct Hostile: CustomTestStringConvertible, Sendable {
        var bytes: [UInt8]
        var message: String
        var testDescription: String { message }

        init(_ header: String, data: Int = 128, align: Bool = true, _ message: String) {
            bytes = safetensors(header: header, data: [UInt8](repeating: 0, count: data), align: align)
            self.message = message
        }

        init(bytes: [UInt8], _ message: String) {
            self.bytes = bytes
            self.message = message
        }
    }

    /// A header of one F32 tensor [32] that fills 128 bytes, with these fields put in its place.
    private static func one(
        _ name: String = "t", dtype: String = "\"F32\"", shape: String = "[32]", offsets: String = "[0,128]",
        more: String = ""
    ) -> String {
        "{\"\(name)\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)\(more)}}"
    }

    private static func two(_ first: String, _ second: String, names: (String, String) = ("t", "u")) -> String {
        "{\"\(names.0)\":{\"dtype\":\"I8\",\"shape\":[64],\"data_offsets\":\(first)},"
            + "\"\(names.1)\":{\"dtype\":\"I8\",\"shape\":[64],\"data_offsets\":\(second)}}"
    }

    static let hostile: [Hostile] = [
        Hostile(bytes: [], "the file is empty"),
        Hostile(bytes: [1, 0, 0], "3 bytes are too few for the length of a header"),
        Hostile(bytes: [0, 0, 0, 0, 0, 0, 0, 0], "header, byte 0: '{' is expected"),
        Hostile(
            bytes: [255, 255, 255, 255, 255, 255, 255, 255, 0],
            "the header has 18446744073709551615 bytes, the limit is 16777216"),
        Hostile(bytes: [1, 0, 0, 1, 0, 0, 0, 0], "the header has 16777217 bytes, the limit is 16777216"),
        Hostile(bytes: [100, 0, 0, 0, 0, 0, 0, 0, 0x7B], "9 bytes are too few for a header of 100 bytes"),
        Hostile("[]", "header, byte 0: '{' is expected"),
        Hostile("{\"t\":", "'{' is expected"),
        Hostile(one() + "x", "nothing may follow the header's object"),
        Hostile("{\"t", align: false, "a string does not end"),
        Hostile("{\"\\u00", align: false, "a string does not end"),
        Hostile("{\"\\", align: false, "a string does not end"),
        Hostile("{\"t\u{1}\":{}}", "a control character in a string"),
        Hostile("{\"\\ud800x\":{}}", "half a surrogate pair"),
        Hostile("{\"\\q\":{}}", "an unknown escape in a string"),
        Hostile("{\"\\u12g4\":{}}", "four hexadecimal digits are expected"),
        Hostile(bytes: [4, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0x22, 0xFF, 0x22], "a string is not UTF-8"),
        Hostile(one(String(repeating: "n", count: 600)), "a tensor name of 600 bytes, the limit is 512"),
        Hostile("{\"t\":{\"dtype\":\"F32\",\"shape\":[32]}}", "tensor 't': 'data_offsets' is missing"),
        Hostile("{\"t\":{}}", "tensor 't': 'dtype' is missing"),
        Hostile(one(more: ",\"shape\":[32]"), "tensor 't': 'shape' is there twice"),
        Hostile(one(more: ",\"stride\":[1]"), "tensor 't': safetensors has no field 'stride'"),
        Hostile(one(dtype: "7"), "'\"' is expected"),
        Hostile(one(shape: "[-1]"), "a non-negative integer is expected"),
        Hostile(one(shape: "[032]"), "a number starts with 0"),
        Hostile(one(shape: "[3.2]"), "']' is expected"),
        Hostile(one(shape: "[99999999999999999999]"), "a number over 63 bits"),
        Hostile(one(shape: "[1,1,1,1,1,1,1,1,1]"), "more than 8 numbers"),
        Hostile(one(shape: "[4611686018427387904,8]"), "tensor 't': shape [4611686018427387904, 8] overflows 63 bits"),
        Hostile(one(shape: "[31]"), "tensor 't': F32 [31] does not take the 128 bytes of its data_offsets"),
        Hostile(one(offsets: "[128,0]"), "tensor 't': data_offsets [128, 0] are no begin and end"),
        Hostile(one(offsets: "[128]"), "tensor 't': data_offsets [128] are no begin and end"),
        Hostile(one(), data: 127, "tensor 't' ends at byte 128 of the data, which has 127"),
        Hostile(
            one(offsets: "[9223372036854775679,9223372036854775807]"),
            "tensor 't' ends at byte 9223372036854775807 of the data, which has 128"),
        Hostile(one(), data: 129, "bytes 128..<129 of the data belong to no tensor"),
        Hostile(two("[0,64]", "[32,96]"), data: 96, "tensor 'u' overlaps 't'"),
        Hostile(two("[0,64]", "[128,192]"), data: 192, "bytes 64..<128 of the data belong to no tensor"),
        Hostile(two("[0,64]", "[64,128]", names: ("t", "t")), "tensor 't' is there twice"),
        Hostile("{}", "bytes 0..<128 of the data belong to no tensor"),
        Hostile("{\"__metadata__\":{\"a\":1}}", "'\"' is expected"),
        Hostile("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "'__metadata__' has a key twice"),
        Hostile("{\"__metadata__\":{},\"__metadata__\":{}}", "tensor '__metadata__' is there twice"),
        Hostile(one() + "  ", align: false, "not a multiple of 64; convert the folder with `Quantization convert`"),
        Hostile(one("\\n\\u202e", offsets: "[0,1]"), "tensor '??': F32 [32] does not take the 1 bytes"),
    ]

    @Test(arguments: hostile) func namesWhatIsWrong(_ hostile: Hostile) throws {
        let file = try TemporaryFile(hostile.bytes)
        let error = #expect(throws: CheckpointError.self) { try Checkpoint(path: file.path) }
        let description = try #require(error).description
        #expect(description.hasPrefix(file.path + ": "))
        #expect(description.contains(hostile.message), "\(description)")
    }

    @Test func refusesTooManyTensors() throws {
        let members = (0...CheckpointHeader.tensorLimit)
            .map { "\"\($0)\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}" }
        let file = try TemporaryFile(safetensors(header: "{" + members.joined(separator: ",") + "}", data: []))
        #expect(throws: CheckpointError.tooManyTensors(file: file.path, limit: 65536)) {
            try Checkpoint(path: file.path)
        }
    }

    @Test func isOfARegularFile() {
        #expect(throws: CheckpointError.file(.notRegular(path: "/tmp"))) { try Checkpoint(path: "/tmp") }
        let error = #expect(throws: CheckpointError.self) { try Checkpoint(path: "/tmp/no/such.safetensors") }
        #expect(error?.description == "/tmp/no/such.safetensors: can't be opened: No such file or directory")
    }

    /// Every mutation of a valid file is read or refused, and what is read stays inside the file. The last seed differs
    /// from run to run; it is printed before the run, so that a crash names it.
    @Test(arguments: [1, 2, 3, UInt64.random(in: 0...UInt64.max)]) func survivesMutations(seed: UInt64) throws {
        print("CheckpointTests.survivesMutations seed \(seed)")
        let valid = Self.sample().bytes()
        let headerEnd = 8 + Int(valid[0]) + Int(valid[1]) << 8
        var generator = SeededGenerator(seed: seed)
        var accepted = 0
        for _ in 0..<1500 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let inHeader = min(headerEnd, bytes.count)
                let at = Int.random(in: 0..<max(inHeader, 1), using: &generator)
                switch Int.random(in: 0..<7, using: &generator) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                case 2: bytes.removeSubrange(at..<min(at + Int.random(in: 1...16, using: &generator), bytes.count))
                case 3: bytes.insert(contentsOf: bytes[at..<min(at + 16, bytes.count)], at: at)
                case 4: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator))
                case 5: bytes[at] = "0123456789[]{}\",:\\u-e. ".utf8.randomElement(using: &generator)!
                default: bytes.append(contentsOf: [0, 1, 2])
                }
            }
            let file = try TemporaryFile(bytes)
            guard let checkpoint = try? Checkpoint(path: file.path) else { continue }
            accepted += 1
            for name in checkpoint.names {
                let tensor = try checkpoint.tensor(name)
                guard tensor.byteCount > 0 else { continue }
                _ = tensor.base.load(as: UInt8.self)
                _ = tensor.base.load(fromByteOffset: tensor.byteCount - 1, as: UInt8.self)
            }
            try? checkpoint.checkWeights()
        }
        // A mutation inside a name or of the metadata leaves a valid file: none at all would mean a test that tests nothing.
        #expect(accepted > 0, "seed \(seed)")
    }
}
