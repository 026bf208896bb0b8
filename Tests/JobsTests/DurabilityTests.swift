import Glibc
import Testing
import Video

@testable import Jobs

/// Power cuts and full disks before every single file operation of a life with everything in it.
@Suite struct DurabilityTests {
    /// What clients were told before the end.
    struct Told {
        var accepted: [String] = []
        var completed: Set<String> = []
        var cancelled: Set<String> = []
        var deleted: Set<String> = []
    }

    /// A life of a daemon; clients note what they were told and bear errors.
    private func live(_ harness: Harness) async -> Told {
        var told = Told()
        let generator = FakeGenerator(allowed: 0)
        guard let queue = try? await harness.open(generator) else { return told }
        for seed in 1...4 {
            if let id = try? await queue.ask(UInt64(seed), steps: 2, key: "k\(seed)") { told.accepted.append(id) }
        }
        if told.accepted.count == 4, (try? await queue.cancel(told.accepted[2], peer: alice)) != nil {
            told.cancelled.insert(told.accepted[2])
        }
        if let first = told.accepted.first {
            generator.allow(2)
            if let job = try? await queue.finished(first) {
                // A client that is told "failed" may ask again; one that is told "completed" may rely on it.
                if job.status == .completed { told.completed.insert(first) }
                if job.status == .completed, (try? await queue.delete(first, peer: alice)) != nil {
                    told.deleted.insert(first)
                }
            }
        }
        await queue.stop()
        return told
    }

    @Test func aPowerCutAnywhereLosesNoAcceptedJob() async throws {
        var cut = 0
        while true {
            let harness = Harness()
            harness.faults.set(.powerCut(at: cut))
            let told = await live(harness)
            let happened = harness.faults.hits.first
            harness.faults.set(.none)

            let queue = try await harness.open(FakeGenerator())
            for id in told.accepted where !told.deleted.contains(id) {
                // The power may have gone between the rename that deletes and the answer.
                guard let job = try? await queue.finished(id) else {
                    #expect(told.completed.contains(id), "\(id) is lost at \(cut): \(happened ?? "")")
                    continue
                }
                if job.status == .completed {
                    let frames = FakeGenerator.frames(job.request)
                    let stored = try await queue.content(id, peer: alice)
                    #expect(stored.frames == frames.map(FakeGenerator.encode))
                    #expect(stored.framesSHA256 == Frame.sha256(of: frames))
                } else {
                    #expect(told.cancelled.contains(id) && job.error?.code == "cancelled", "at \(cut)")
                }
            }
            for id in told.deleted {
                await expectError({ $0 == .notFound }) { _ = try await queue.job(id, peer: root) }
            }
            await queue.stop()
            #expect(harness.names(in: "quarantine").isEmpty, "at \(cut): \(happened ?? "")")
            let left = try await queue.list(peer: root, limit: 100, after: nil, ascending: true).jobs
            #expect(harness.names(in: "jobs") == left.map(\.job.id).sorted(), "at \(cut): \(happened ?? "")")
            if happened == nil { break }
            cut += 1
        }
        #expect(cut > 50, "the life has hardly touched the disk")
    }

    @Test(arguments: [ENOSPC, EIO]) func oneFailureAnywhereHurtsOneJobAtMost(code: Int32) async throws {
        var place = 0
        while true {
            let harness = Harness()
            harness.faults.set(.once(at: place, errno: code))
            var ids: [String] = []
            var refused = 0
            if let queue = try? await harness.open(FakeGenerator()) {
                for seed in 1...3 {
                    do { ids.append(try await queue.ask(UInt64(seed), steps: 1)) } catch { refused += 1 }
                }
                for id in ids { try await queue.finished(id) }
                let hurt = try await queue.list(peer: root, limit: 10, after: nil, ascending: true).jobs
                    .filter { $0.job.status == .failed }
                #expect(refused + hurt.count <= 1)
                for view in hurt {
                    // How much is free could not be asked: taken for nothing.
                    let isFull = code == ENOSPC || harness.faults.hits.contains { $0.hasPrefix("statvfs") }
                    #expect(view.job.error?.code == (isFull ? "storage_full" : "storage_error"))
                    #expect(FileOperations().names(in: harness.path("jobs/\(view.job.id)")) == ["job.json"])
                }
                await queue.stop()
            }
            let reached = !harness.faults.hits.isEmpty
            harness.faults.set(.none)
            let queue = try await harness.open(FakeGenerator())
            for id in ids { #expect(try await queue.finished(id).isFinished) }
            #expect(harness.names(in: "jobs").sorted() == ids.sorted())
            await queue.stop()
            if !reached { break }
            place += 1
        }
        #expect(place > 40)
    }

    @Test func everyPhaseIsTakenUpAgain() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        var queue = try await harness.open(generator)
        let done = try await queue.ask(1)
        try await queue.finished(done)
        generator.hold()
        let running = try await queue.ask(2)
        let waiting = [try await queue.ask(3), try await queue.ask(4)]
        generator.allow(2)
        try await eventually { try await queue.job(running, peer: alice).job.progress == 49 }
        let before = try await queue.job(done, peer: alice).job
        let stored = try await queue.content(done, peer: alice)
        harness.faults.set(.powerCut(at: 0))
        await queue.stop()
        harness.faults.set(.none)

        generator.hold()
        generator.behaviour.withLock { $0.started = [] }
        queue = try await harness.open(generator, start: false)
        #expect(try await queue.job(done, peer: alice).job == before)
        #expect(try await queue.content(done, peer: alice) == stored)
        for (place, id) in ([running] + waiting).enumerated() {
            let view = try await queue.job(id, peer: alice)
            #expect(view.job.status == .queued && view.queuePosition == place && view.job.progress == 0)
        }
        #expect(try await queue.job(running, peer: alice).job.interruptions == 1)
        let later = try await queue.ask(5)
        generator.release()
        try await queue.start()
        for id in [running] + waiting + [later] { #expect(try await queue.finished(id).status == .completed) }
        #expect(generator.started == [2, 3, 4, 5])
        #expect(try await queue.job(running, peer: alice).job.attempts == 2)
        await queue.stop()
    }

    @Test func stoppingHandsTheRunningJobBack() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 1)
        var queue = try await harness.open(generator)
        let id = try await queue.ask(1)
        try await eventually { try await queue.job(id, peer: alice).job.progress > 0 }
        await queue.stop()
        queue = try await harness.open(generator, start: false)
        let job = try await queue.job(id, peer: alice).job
        #expect(job.status == .queued && job.interruptions == 0 && job.attempts == 1)
        await queue.stop()
    }

    @Test func aJobTheProcessKeepsDyingOfIsGivenUp() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.interruptions = 3
        let generator = FakeGenerator(allowed: 0)
        var queue = try await harness.open(generator, limits: limits)
        let poison = try await queue.ask(1)
        let next = try await queue.ask(2)
        for death in 1...3 {
            try await eventually { try await queue.status(poison) == .inProgress }
            harness.faults.set(.powerCut(at: 0))
            await queue.stop()
            harness.faults.set(.none)
            if death == 3 { generator.release() }
            queue = try await harness.open(generator, limits: limits)
        }
        let job = try await queue.finished(poison)
        #expect(job.status == .failed && job.error?.code == "interrupted" && job.attempts == 3)
        #expect(try await queue.finished(next).status == .completed)
        await queue.stop()
    }

    @Test func aHundredDeathsDoNotFailAJob() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        var queue = try await harness.open(generator)
        let id = try await queue.ask(1)
        for _ in 0..<100 {
            harness.faults.set(.powerCut(at: 0))
            await queue.stop()
            harness.faults.set(.none)
            queue = try await harness.open(generator)
        }
        generator.release()
        let job = try await queue.finished(id)
        #expect(job.status == .completed && job.interruptions == 100)
        await queue.stop()
    }

    @Test func aFullDiskRefusesAndRecovers() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let running = try await queue.ask(1)
        let waiting = try await queue.ask(2)
        try await eventually { try await queue.status(running) == .inProgress }
        harness.faults.set(.full)
        await expectError({ if case .storageFull = $0 { true } else { false } }) { _ = try await queue.ask(3) }
        generator.allow(4)
        let job = try await queue.finished(running)
        #expect(job.status == .failed && job.error?.code == "storage_full")
        #expect(job.error?.message.contains("bytes are free") == true)
        harness.faults.set(.none)
        generator.release()
        #expect(try await queue.finished(waiting).status == .completed)
        #expect(try await queue.finished(try await queue.ask(3)).status == .completed)
        await queue.stop()
    }

    @Test func theReserveOfTheFileSystemIsKept() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.reserveBytes = .max
        let queue = try await harness.open(FakeGenerator(), limits: limits)
        await expectError({ if case .storageFull(let free) = $0 { free > 0 } else { false } }) {
            _ = try await queue.ask(1)
        }
        #expect(harness.names(in: "jobs").isEmpty)
        await queue.stop()
    }

    @Test func aSecondProcessIsKeptOut() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator())
        await expectError({ if case .storage(let words) = $0 { words.contains("lock") } else { false } }) {
            _ = try await harness.open(FakeGenerator())
        }
        await queue.stop()
        await (try await harness.open(FakeGenerator())).stop()
    }
}
