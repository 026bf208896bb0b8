import Glibc
import Testing

@testable import Jobs

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Whatever lies in the store: it opens, keeps what is good, and moves the rest aside.
@Suite struct HostileStoreTests {
    private static let other = "video_ffffffffffffffffffffffff"

    /// A store with one finished and one waiting job.
    private func filled(_ harness: Harness) async throws -> (done: String, waiting: String) {
        let generator = FakeGenerator()
        let queue = try await harness.open(generator)
        let done = try await queue.ask(1)
        try await queue.finished(done)
        await queue.stop()
        let again = try await harness.open(generator, start: false)
        let waiting = try await again.ask(2)
        await again.stop()
        return (done, waiting)
    }

    private func expectUnharmed(_ harness: Harness, _ ids: (done: String, waiting: String), quarantined: Int)
        async throws
    {
        let queue = try await harness.open(FakeGenerator())
        #expect(try await queue.finished(ids.waiting).status == .completed)
        #expect(try await queue.content(ids.done, peer: alice).frames.count == 3)
        let all = try await queue.list(peer: root, limit: 100, after: nil, ascending: true).jobs.map(\.job.id)
        #expect(all == [ids.done, ids.waiting])
        #expect(harness.names(in: "quarantine").count == quarantined)
        #expect(harness.warnings.count { $0.contains("quarantine") } == quarantined)
        await queue.stop()
    }

    @Test func garbageIsSetAside() async throws {
        let harness = Harness()
        let ids = try await filled(harness)
        let good = try FileOperations().read(harness.path("jobs/\(ids.done)/job.json"), limit: 1 << 20)
        let text = String(decoding: good, as: UTF8.self).replacing(ids.done, with: Self.other)
        var files: [[UInt8]] = [
            [], [0], Array("{}".utf8), Array("null".utf8), [UInt8](repeating: 0xFF, count: 5000),
            Array(String(repeating: "[", count: 100_000).utf8), [UInt8](repeating: 0x20, count: (1 << 20) + 1),
            // A good one under a wrong name, and one that says completed without frames.
            good, Array(text.utf8),
        ]
        for length in stride(from: 1, to: text.utf8.count, by: 37) { files.append(Array(text.utf8.prefix(length))) }
        let changes: [(String, String)] = [
            ("\"version\":1", "\"version\":2"), ("\"attempts\":1", "\"attempts\":9223372036854775807"),
            ("\"sequence\":1", "\"sequence\":18446744073709551615"), ("\"progress\":100", "\"progress\":-1"),
            ("\"steps\":4", "\"steps\":0"), ("\"steps\":4", "\"steps\":9223372036854775807"),
            ("\"frames\":3", "\"frames\":1000000000"), ("\"fps\":8", "\"fps\":0"), ("\"8x8\"", "\"0x99999\""),
            ("\"status\":\"completed\"", "\"status\":\"dancing\""),
            ("\"interruptions\":0", "\"interruptions\":9223372036854775807"),
        ]
        for (from, to) in changes {
            let changed = text.replacing("completed\"", with: from.contains("status") ? "completed\"" : "queued\"")
            #expect(changed.contains(from))
            files.append(Array(changed.replacing(from, with: to).utf8))
        }
        let folder = "jobs/\(Self.other)"
        for bytes in files {
            try FileOperations().makeFolder(harness.path(folder))
            try harness.write(bytes, to: folder + "/job.json")
            let queue = try await harness.open(FakeGenerator(), start: false)
            await queue.stop()
            #expect(harness.names(in: "jobs") == [ids.done, ids.waiting].sorted())
        }
        try await expectUnharmed(harness, ids, quarantined: files.count)
    }

    @Test func oddNamesAndLinksAreSetAsideAndNeverFollowed() async throws {
        let harness = Harness()
        let ids = try await filled(harness)
        // Somebody else's folder, which must not be touched.
        try FileOperations().makeFolder(harness.path("elsewhere"))
        try harness.write([1], to: "elsewhere/precious")
        try harness.write([1], to: "elsewhere/other.tmp")
        let elsewhere = harness.path("elsewhere")
        for name in [".removed-x", Self.other, "link"] { symlink(elsewhere, harness.path("jobs/\(name)")) }
        try FileOperations().makeFolder(harness.path("empty"))
        symlink(harness.path("empty"), harness.path("jobs/video_eeeeeeeeeeeeeeeeeeeeeeee"))
        symlink(harness.path("jobs/\(ids.done)"), harness.path("jobs/video_dddddddddddddddddddddddd"))
        for name in ["..x", "video_", "video_GGGGGGGGGGGGGGGGGGGGGGGG", "a b\n", String(repeating: "n", count: 200)] {
            try FileOperations().makeFolder(harness.path("jobs/\(name)"))
        }
        try harness.write([2], to: "jobs/video_cccccccccccccccccccccccc")
        mkfifo(harness.path("jobs/pipe"), 0o600)
        // job.json as a link, a folder, a pipe.
        for (index, id) in [
            "video_000000000000000000000001", "video_000000000000000000000002", "video_000000000000000000000003",
        ]
        .enumerated() {
            try FileOperations().makeFolder(harness.path("jobs/\(id)"))
            let path = harness.path("jobs/\(id)/job.json")
            switch index {
            case 0: symlink(harness.path("jobs/\(ids.done)/job.json"), path)
            case 1: mkdir(path, 0o700)
            default: mkfifo(path, 0o600)
            }
        }
        try await expectUnharmed(harness, ids, quarantined: 15)
        #expect(harness.names(in: "elsewhere") == ["other.tmp", "precious"])
        #expect(harness.names(in: "empty").isEmpty)
    }

    @Test func aNameThatIsNoTextIsLeftAlone() async throws {
        let harness = Harness()
        let ids = try await filled(harness)
        var path = Array(harness.path("jobs/").utf8) + [0xFF, 0xFE, 0]
        path.withUnsafeMutableBytes { _ = mkdir($0.bindMemory(to: CChar.self).baseAddress!, 0o700) }
        try await expectUnharmed(harness, ids, quarantined: 0)
        #expect(harness.warnings.contains { $0.contains("left alone") })
        path.withUnsafeMutableBytes { _ = rmdir($0.bindMemory(to: CChar.self).baseAddress!) }
    }

    @Test func brokenFramesAreAnErrorNotACrash() async throws {
        let harness = Harness()
        let ids = try await filled(harness)
        let name = "jobs/\(ids.done)/frames.bin"
        let good = try FileOperations().read(harness.path(name), limit: 1 << 20)
        let queue = try await harness.open(FakeGenerator(), start: false)
        var damaged = (0..<good.count).map { Array(good.prefix($0)) }
        for place in 0..<28 {
            var bytes = good
            bytes[place] ^= 0xFF
            damaged.append(bytes)
        }
        damaged.append(good + [0])
        for bytes in damaged {
            try harness.write(bytes, to: name)
            await expectError({ if case .storage = $0 { true } else { false } }) {
                _ = try await queue.content(ids.done, peer: alice)
            }
            #expect(try await queue.latestFrame(ids.done, peer: alice).current == nil)
        }
        try harness.write(good, to: name)
        #expect(try await queue.content(ids.done, peer: alice).frames.count == 3)
        // Somebody removed it all by hand: it is gone then, and can be forgotten.
        for file in ["frames.bin", "latents.bin", "job.json"] { unlink(harness.path("jobs/\(ids.done)/\(file)")) }
        rmdir(harness.path("jobs/\(ids.done)"))
        try await queue.delete(ids.done, peer: alice)
        await queue.stop()
    }

    @Test func leftoversOfPowerCutsAreRemoved() async throws {
        let harness = Harness()
        let ids = try await filled(harness)
        try FileOperations().makeFolder(harness.path("jobs/.removed-\(Self.other)"))
        try harness.write([1], to: "jobs/.removed-\(Self.other)/frames.bin")
        try FileOperations().makeFolder(harness.path("jobs/\(Self.other)"))
        try harness.write([1], to: "jobs/\(Self.other)/job.json.tmp")
        try harness.write([1], to: "jobs/\(ids.done)/frames.bin.tmp")
        try await expectUnharmed(harness, ids, quarantined: 0)
        #expect(harness.names(in: "jobs") == [ids.done, ids.waiting].sorted())
        #expect(harness.names(in: "jobs/\(ids.done)") == ["frames.bin", "job.json", "latents.bin"])
    }

    @Test func aPromptThatTheStoreCouldNotReadBackIsRefused() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator(), start: false)
        await expectError({ if case .storage = $0 { true } else { false } }) {
            let prompt = String(repeating: "x", count: 1 << 20)
            _ = try await queue.submit(VideoParameters(prompt: prompt), peer: alice, idempotencyKey: nil)
        }
        #expect(harness.names(in: "jobs").isEmpty)
        await queue.stop()
    }
}
