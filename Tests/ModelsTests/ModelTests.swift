import Engine
import Glibc
import Testing

@testable import Models
import Video

extension OnModels {
    @Suite struct ModelTests {
        /// What opening says about a folder.
        func refusal(_ folder: ModelFolder) -> ModelError? {
            do {
                _ = try Model(folder: folder.path)
                return nil
            } catch {
                return error
            }
        }

        @Test(arguments: ["tiny", "odd"]) func opensAndVerifies(_ golden: String) throws {
            let folder = try ModelFolder(copying: golden)
            let model = try Model(folder: folder.path)
            var last = (0, 0)
            try model.verify {
                last = ($0, $1); return true
            }
            #expect(last.0 == last.1)
            #expect(last.1 == model.description.files.values.reduce(0) { $0 + $1.bytes })
            try model.checkUnchanged()
        }

        @Test(arguments: everyFile + ["model.json"]) func namesAMissingFile(_ file: String) throws {
            let folder = try ModelFolder(copying: "tiny")
            folder.remove(file)
            let message = try #require(refusal(folder)).description
            #expect(message.hasPrefix(file), "\(message)")
            #expect(message.contains("No such file"), "\(message)")
        }

        @Test(arguments: everyFile) func namesAFileOfAnotherSize(_ file: String) throws {
            let folder = try ModelFolder(copying: "tiny")
            try folder.change { $0.files[file]?.bytes += 1 }
            let bytes = try folder.bytes(file).count
            #expect(refusal(folder) == .wrongSize(file: file, bytes: bytes, expected: bytes + 1))
        }

        @Test(arguments: everyFile.dropLast()) func survivesTruncation(_ file: String) throws {
            let folder = try ModelFolder(copying: "odd")
            let whole = try folder.bytes(file)
            for count in [1, 7, 8, 9, 63, 200, whole.count / 2, whole.count - 64, whole.count - 1] {
                try folder.replace(file, with: Array(whole[..<count]))
                let error = try #require(refusal(folder))
                #expect("\(error)".hasPrefix(file), "\(error)")
            }
            // Truncated behind the back of model.json.
            try folder.replace(file, with: whole)
            try folder.writeBytes(Array(whole[..<(whole.count / 2)]), file)
            #expect(refusal(folder) != nil)
        }

        @Test func neitherWaitsForAPipeNorReadsAFolder() throws {
            let folder = try ModelFolder(copying: "tiny")
            for file in ["model.json", "vocab.txt"] {
                let whole = try folder.bytes(file)
                folder.remove(file)
                #expect(mkfifo("\(folder.path)/\(file)", 0o600) == 0)
                #expect(refusal(folder) == .unreadable(file: file, reason: "it is not a regular file"))
                folder.remove(file)
                #expect(mkdir("\(folder.path)/\(file)", 0o700) == 0)
                #expect(refusal(folder) == .unreadable(file: file, reason: "it is not a regular file"))
                rmdir("\(folder.path)/\(file)")
                try folder.writeBytes(whole, file)
            }
            #expect(refusal(folder) == nil)
        }

        /// Every tensor of every file, absent and misshapen: each is asked for, and each error names it.
        @Test(arguments: everyFile.dropLast()) func namesAMissingOrMisshapenTensor(_ file: String) throws {
            let folder = try ModelFolder(copying: "odd")
            let tensors = try folder.tensors(file)
            for (index, tensor) in tensors.enumerated()
            where !tensor.name.hasPrefix("encoder.") || file != "autoencoder.safetensors" {
                var others = tensors
                others[index].name = "other"
                try folder.replace(file, with: safetensors(others))
                let missing = try #require(refusal(folder), "without \(tensor.name)").description
                #expect(missing.contains(tensor.name), "\(missing)")
                others = tensors
                others[index].shape += [1]
                try folder.replace(file, with: safetensors(others))
                let misshapen = try #require(refusal(folder), "misshapen \(tensor.name)").description
                #expect(misshapen.contains(tensor.name), "\(misshapen)")
                others = tensors
                others[index].type = "I32"
                try folder.replace(file, with: safetensors(others))
                #expect(try #require(refusal(folder)).description.contains(tensor.name))
            }
        }

        @Test func comparesTheVocabularyWithTheConfiguration() throws {
            let folder = try ModelFolder(copying: "tiny")
            try folder.replace("vocab.txt", with: folder.bytes("vocab.txt") + Array("extra\n".utf8))
            guard case .invalid(let field, _) = refusal(folder) else { Issue.record("accepted"); return }
            #expect(field == "text_encoder.vocab_size")
        }

        @Test(arguments: everyFile) func findsAChangedByte(_ file: String) throws {
            let folder = try ModelFolder(copying: "tiny")
            var bytes = try folder.bytes(file)
            // The last byte of data proper in a checkpoint, a letter in the vocabulary.
            bytes[file == "vocab.txt" ? 1 : bytes.count - 200] ^= 1
            try folder.writeBytes(bytes, file)
            let model = try Model(folder: folder.path)
            #expect(
                throws: ModelError.hashMismatch(
                    file: file, found: SHA256.hash(bytes), expected: folder.description.files[file]?.sha256 ?? "")
            ) { try model.verify() }
        }

        @Test func refusesValuesThatNoLevelPromises() throws {
            let folder = try ModelFolder(copying: "tiny")
            try folder.change("transformer.safetensors") { $0 = quantized($0) }
            try Model(folder: folder.path).verify()
            let clean = try folder.tensors("transformer.safetensors")
            let weight = try #require(clean.firstIndex { $0.type == "I8" })
            let scale = try #require(clean.firstIndex { $0.name.hasSuffix(".scale") })
            for (index, value, bytes) in [
                (weight, "-128", [UInt8(0x80)]), (scale, "finite", [0, 0, 0xC0, 0x7F]),
                (scale, "negative", [0, 0, 0x80, 0xBF]),
            ] {
                var tensors = clean
                tensors[index].bytes.replaceSubrange(0..<bytes.count, with: bytes)
                try folder.replace("transformer.safetensors", with: safetensors(tensors), hashed: true)
                let model = try Model(folder: folder.path)
                do {
                    try model.verify()
                    Issue.record("accepted \(value)")
                } catch {
                    #expect("\(error)".contains(tensors[index].name), "\(error)")
                    #expect("\(error)".contains(value), "\(error)")
                }
            }
        }

        @Test func verificationCanBeStopped() throws {
            let model = try Model(folder: "\(goldens)/tiny/model")
            #expect(throws: ModelError.cancelled) { try model.verify { _, _ in false } }
        }

        @Test func noticesAFileThatChanged() throws {
            let folder = try ModelFolder(copying: "tiny")
            let model = try Model(folder: folder.path)
            let bytes = try folder.bytes("preview.safetensors")
            try folder.writeBytes(bytes + [0], "preview.safetensors")
            #expect(throws: ModelError.self) { try model.checkUnchanged() }
        }
    }
}
