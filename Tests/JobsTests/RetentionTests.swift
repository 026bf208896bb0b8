import Testing

@testable import Jobs

@Suite struct RetentionTests {
    private func limits(_ seconds: Int64?) -> JobLimits {
        var limits = Harness.limits
        limits.retentionSeconds = seconds
        return limits
    }

    @Test func oldJobsGoAndYoungOnesStay() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        let queue = try await harness.open(generator, limits: limits(100))
        let old = try await queue.ask(1)
        try await queue.finished(old)
        harness.clocks.pass(60)
        let young = try await queue.ask(2)
        try await queue.finished(young)
        #expect(try await queue.status(old) == .completed)
        generator.hold()
        let running = try await queue.ask(3)
        let waiting = try await queue.ask(4)
        harness.clocks.pass(60)
        await expectError({ $0 == .notFound }) { _ = try await queue.job(old, peer: alice) }
        #expect(try await queue.status(young) == .completed)
        harness.clocks.pass(1_000_000)
        let left = try await queue.list(peer: root, limit: 10, after: nil, ascending: true).jobs.map(\.job.id)
        #expect(left == [running, waiting])
        #expect(harness.names(in: "jobs") == left.sorted())
        await queue.stop()
    }

    @Test(arguments: [-2_000_000_000.0, 4_000_000_000]) func aClockThatJumpsExpiresNothing(by jump: Double) async throws
    {
        let harness = Harness()
        var queue = try await harness.open(FakeGenerator(), limits: limits(100))
        let id = try await queue.ask(1)
        try await queue.finished(id)
        harness.clocks.wall.withLock { $0 += jump }
        #expect(try await queue.status(id) == .completed)
        let other = try await queue.ask(2)
        #expect(try await queue.finished(other).status == .completed)
        await queue.stop()
        // A board that was off: its clocks start anew.
        harness.clocks.monotonic.withLock { $0 = 3 }
        queue = try await harness.open(FakeGenerator(), limits: limits(100))
        let ids = try await queue.list(peer: alice, limit: 10, after: nil, ascending: true).jobs.map(\.job.id)
        #expect(ids == [id, other])
        await queue.stop()
    }

    @Test func ageIsRememberedAcrossStarts() async throws {
        let harness = Harness()
        var queue = try await harness.open(FakeGenerator(), limits: limits(100))
        let id = try await queue.ask(1)
        try await queue.finished(id)
        for _ in 0..<2 {
            harness.clocks.pass(40)
            await queue.stop()
            queue = try await harness.open(FakeGenerator(), limits: limits(100))
            #expect(try await queue.status(id) == .completed)
        }
        harness.clocks.pass(40)
        await expectError({ $0 == .notFound }) { _ = try await queue.job(id, peer: alice) }
        await queue.stop()
    }

    @Test func agesThatCantBeReadExpireNothing() async throws {
        let harness = Harness()
        var queue = try await harness.open(FakeGenerator(), limits: limits(100))
        let id = try await queue.ask(1)
        try await queue.finished(id)
        await queue.stop()
        for text in ["{", "[]", "{\"\(id)\":9223372036854775807}", "{\"\(id)\":-9223372036854775808}"] {
            try harness.write(Array(text.utf8), to: "ages.json")
            queue = try await harness.open(FakeGenerator(), limits: limits(1 << 62))
            harness.clocks.pass(10)
            _ = try await queue.list(peer: alice, limit: 1, after: nil, ascending: true)
            await queue.stop()
        }
    }

    @Test func theOldestFinishedJobsMakeRoom() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.finishedJobs = 2
        let queue = try await harness.open(FakeGenerator(), limits: limits)
        var ids: [String] = []
        for seed in 1...4 {
            ids.append(try await queue.ask(UInt64(seed)))
            try await queue.finished(ids.last!)
        }
        #expect(
            try await queue.list(peer: root, limit: 9, after: nil, ascending: true).jobs.map(\.job.id) == ids.suffix(2))
        #expect(harness.names(in: "jobs") == ids.suffix(2).sorted())
        await queue.stop()
    }

    @Test func theStoreStaysWithinItsBytes() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.storeBytes = 100_000
        let generator = FakeGenerator()
        generator.behaviour.withLock { $0.latentBytes = 30_000 }
        let queue = try await harness.open(generator, limits: limits)
        var ids: [String] = []
        for seed in 1...6 {
            ids.append(try await queue.ask(UInt64(seed)))
            #expect(try await queue.finished(ids.last!).status == .completed)
            #expect(await queue.statistics().storeBytes <= 100_000)
        }
        #expect(FileOperations().names(in: harness.path("jobs/\(ids[5])")).count == 3)
        #expect(harness.names(in: "jobs").count < 4)
        // One that can never fit fails with a reason, and costs nobody else's video.
        let kept = harness.names(in: "jobs")
        generator.behaviour.withLock { $0.latentBytes = 100_001 }
        let tooLarge = try await queue.finished(try await queue.ask(7))
        #expect(tooLarge.status == .failed && tooLarge.error?.code == "storage_full")
        #expect(Set(kept).isSubset(of: harness.names(in: "jobs")))
        await queue.stop()
    }
}
