import Glibc
import Testing
import Threads
import Video

@testable import Jobs

@Suite struct JobQueueTests {
    @Test func jobsRunInTheOrderOfAcceptance() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        var ids: [String] = []
        for seed in 1...4 { ids.append(try await queue.ask(UInt64(seed), by: seed % 2 == 0 ? alice : bob)) }
        try await eventually { try await queue.status(ids[0]) == .inProgress }
        for (place, id) in ids.dropFirst().enumerated() {
            let view = try await queue.job(id, peer: root)
            #expect(view.job.status == .queued && view.queuePosition == place)
        }
        generator.release()
        for id in ids { #expect(try await queue.finished(id).status == .completed) }
        #expect(generator.started == [1, 2, 3, 4])
        await queue.stop()
    }

    @Test func aFinishedVideoIsWhatWasMade() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator())
        let id = try await queue.ask(5)
        let job = try await queue.finished(id)
        let frames = FakeGenerator.frames(job.request)
        #expect(job.status == .completed && job.progress == 100 && job.error == nil && job.peakBytes == 42)
        #expect(job.framesSHA256 == Frame.sha256(of: frames))
        let stored = try await queue.content(id, peer: alice)
        #expect(stored.frames == frames.map(FakeGenerator.encode) && stored.fps == 8)
        #expect(stored.size == FakeGenerator.size && stored.framesSHA256 == job.framesSHA256)
        await queue.stop()
    }

    @Test func othersJobsCannotBeSeenOrTouched() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let running = try await queue.ask(1)
        let waiting = try await queue.ask(2)
        let bobs = try await queue.ask(3, by: bob)
        for id in [running, waiting] {
            await expectError({ $0 == .notFound }) { _ = try await queue.job(id, peer: bob) }
            await expectError({ $0 == .notFound }) { _ = try await queue.cancel(id, peer: bob) }
            await expectError({ $0 == .notFound }) { try await queue.delete(id, peer: bob) }
            await expectError({ $0 == .notFound }) { _ = try await queue.content(id, peer: bob) }
            await expectError({ $0 == .notFound }) { _ = try await queue.watch(id, peer: bob, after: nil) }
            await expectError({ $0 == .notFound }) { _ = try await queue.latestFrame(id, peer: bob) }
            await expectError({ $0 == .notFound }) {
                _ = try await queue.list(peer: bob, limit: 10, after: id, ascending: true)
            }
        }
        func ids(_ peer: Peer) async throws -> [String] {
            try await queue.list(peer: peer, limit: 10, after: nil, ascending: true).jobs.map(\.job.id)
        }
        #expect(try await ids(bob) == [bobs])
        #expect(try await ids(alice) == [running, waiting])
        #expect(try await ids(root) == [running, waiting, bobs])
        #expect(try await queue.status(running) == .inProgress)
        await queue.stop()
    }

    @Test func listsComeInPages() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator(), start: false)
        var ids: [String] = []
        for seed in 1...5 { ids.append(try await queue.ask(UInt64(seed))) }
        var page = try await queue.list(peer: alice, limit: 2, after: nil, ascending: false)
        #expect(page.jobs.map(\.job.id) == [ids[4], ids[3]] && page.hasMore)
        page = try await queue.list(peer: alice, limit: 3, after: ids[3], ascending: false)
        #expect(page.jobs.map(\.job.id) == [ids[2], ids[1], ids[0]] && !page.hasMore)
        page = try await queue.list(peer: alice, limit: 2, after: ids[1], ascending: true)
        #expect(page.jobs.map(\.job.id) == [ids[2], ids[3]] && page.hasMore)
        #expect(try await queue.list(peer: alice, limit: -1, after: nil, ascending: true).jobs.isEmpty)
    }

    @Test func theQueueAndEachOwnersShareAreBounded() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.queueLength = 3
        limits.perOwnerQueued = 2
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator, limits: limits)
        let running = try await queue.ask(1)
        _ = try await queue.ask(2)
        let second = try await queue.ask(3)
        await expectError({ if case .quotaExceeded(let after) = $0 { after >= 1 } else { false } }) {
            _ = try await queue.ask(4)
        }
        _ = try await queue.ask(5, by: bob)
        await expectError({ if case .queueFull(let after) = $0 { after >= 1 } else { false } }) {
            _ = try await queue.ask(6, by: bob)
        }
        _ = try await queue.cancel(second, peer: alice)
        _ = try await queue.ask(7)
        #expect(try await queue.status(running) == .inProgress)
        #expect(harness.names(in: "jobs").count == 5)
        await queue.stop()
    }

    @Test func aWaitingJobIsCancelledAtOnce() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let running = try await queue.ask(1)
        let waiting = try await queue.ask(2)
        let view = try await queue.cancel(waiting, peer: alice)
        #expect(view.job.status == .failed && view.job.error?.code == "cancelled" && view.queuePosition == nil)
        await expectError({ $0 == .wrongState(.failed, wanted: "queued or in_progress") }) {
            _ = try await queue.cancel(waiting, peer: alice)
        }
        generator.release()
        try await queue.finished(running)
        #expect(generator.started == [1])
        await queue.stop()
    }

    @Test func aRunningJobIsCancelledWithinAQuarterOfASecond() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        var times: [Duration] = []
        // Emulators and sanitizers are always slow; any machine may be busy with something else now and then, but not every time.
        let limit = getenv("FILOSCOPE_SLOW") == nil ? Duration.milliseconds(250) : .seconds(10)
        for seed in 1...40 where times.allSatisfy({ $0 >= limit }) {
            let running = try await queue.ask(UInt64(seed))
            generator.allow(2)
            try await eventually { try await queue.job(running, peer: alice).job.progress == 49 }
            let clock = ContinuousClock()
            let began = clock.now
            let view = try await queue.cancel(running, peer: alice)
            times.append(clock.now - began)
            #expect(view.job.status == .failed && view.job.error?.code == "cancelled" && view.job.progress == 49)
            await expectError({ $0 == .wrongState(.failed, wanted: "completed") }) {
                _ = try await queue.content(running, peer: alice)
            }
        }
        #expect(times.min()! < limit)
        let next = try await queue.ask(41, steps: 2)
        generator.release()
        #expect(try await queue.finished(next).status == .completed)
        await expectError({ $0 == .wrongState(.completed, wanted: "queued or in_progress") }) {
            _ = try await queue.cancel(next, peer: alice)
        }
        await queue.stop()
    }

    @Test func aDeletedJobIsGoneInEveryState() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        let queue = try await harness.open(generator)
        let done = try await queue.ask(1)
        try await queue.finished(done)
        generator.hold()
        let running = try await queue.ask(2)
        let waiting = try await queue.ask(3)
        await eventually { generator.started.last == 2 }
        for id in [done, waiting, running] {
            try await queue.delete(id, peer: alice)
            await expectError({ $0 == .notFound }) { _ = try await queue.job(id, peer: alice) }
            await expectError({ $0 == .notFound }) { try await queue.delete(id, peer: alice) }
        }
        #expect(harness.names(in: "jobs").isEmpty)
        #expect(await queue.ping() == .idle)
        await queue.stop()
    }

    @Test func whatTheGeneratorSaysReachesTheClient() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        let queue = try await harness.open(generator)
        await expectError({ if case .invalid(let error) = $0 { error.field == "prompt" } else { false } }) {
            _ = try await queue.submit(VideoParameters(prompt: ""), peer: alice, idempotencyKey: nil)
        }
        let errors: [(GenerationError, String)] = [
            (.modelUnreadable("gone"), "model_unreadable"), (.outOfMemory("too large"), "out_of_memory"),
            (.failed("odd"), "generation_failed"),
        ]
        for (error, code) in errors {
            generator.behaviour.withLock { $0.error = error }
            let job = try await queue.finished(try await queue.ask(1))
            #expect(job.status == .failed && job.error?.code == code)
        }
        generator.behaviour.withLock { $0.unavailableReason = "no model" }
        await expectError({ $0 == .unavailable("no model") }) { _ = try await queue.ask(1) }
        #expect(await queue.statistics().failed == 3)
        await queue.stop()
        await expectError({ $0 == .stopping }) { _ = try await queue.ask(1) }
    }

    @Test func aKeyGivesTheSameJobToTheSameOwnerOnly() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        var queue = try await harness.open(generator, start: false)
        let first = try await queue.ask(1, key: "k")
        #expect(try await queue.ask(1, key: "k") == first)
        #expect(try await queue.ask(1, by: bob, key: "k") != first)
        #expect(try await queue.ask(1, key: "other") != first)
        await expectError({ $0 == .idempotencyConflict }) { _ = try await queue.ask(2, key: "k") }
        for key in ["", String(repeating: "k", count: 256)] {
            await expectError({ if case .invalid(let error) = $0 { error.field == "Idempotency-Key" } else { false } })
            {
                _ = try await queue.ask(1, key: key)
            }
        }
        await queue.stop()
        queue = try await harness.open(generator)
        #expect(try await queue.ask(1, key: "k") == first)
        try await queue.finished(first)
        // A retry must find its job even while no new one could be taken.
        generator.behaviour.withLock { $0.unavailableReason = "no model" }
        #expect(try await queue.ask(1, key: "k") == first)
        await expectError({ $0 == .idempotencyConflict }) { _ = try await queue.ask(2, key: "k") }
        await queue.stop()
    }

    @Test func progressGrowsAndTheTimeLeftIsMeasured() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let id = try await queue.ask(1, steps: 7)
        var before = 0
        for step in 1...7 {
            generator.allow(1)
            try await eventually { try await queue.job(id, peer: alice).job.progress > before }
            let view = try await queue.job(id, peer: alice)
            #expect(view.job.progress <= 100 && (view.job.progress == step * 99 / 7 || view.job.status == .completed))
            if view.job.status == .inProgress { #expect(view.etaMilliseconds != nil) }
            before = view.job.progress
        }
        #expect(try await queue.finished(id).progress == 100)
        #expect(try await queue.job(id, peer: alice).etaMilliseconds == nil)
        await queue.stop()
    }

    @Test func theWatchdogSeesWork() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 1)
        let queue = try await harness.open(generator)
        #expect(await queue.ping() == .idle)
        let id = try await queue.ask(1)
        await eventually { await queue.ping() == .computing(workCounter: 1) }
        generator.allow(1)
        await eventually { await queue.ping() == .computing(workCounter: 2) }
        generator.release()
        try await queue.finished(id)
        #expect(await queue.ping() == .idle)
        await queue.stop()
    }
}
