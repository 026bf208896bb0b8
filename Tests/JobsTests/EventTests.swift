import Testing
import Video

@testable import Jobs

@Suite struct EventTests {
    private func name(_ event: JobEvent) -> String {
        switch event.kind {
        case .progress: "progress \(event.step)"
        case .preview(_, _, _, let frame): "preview \(event.step) of frame \(frame)"
        case .frames(let first, let count): "frames \(first)+\(count)"
        case .completed: "completed"
        case .failed: "failed"
        }
    }

    @Test func everybodySeesEverythingInOrder() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let id = try await queue.ask(1, steps: 3)
        let watches = [
            try await queue.watch(id, peer: alice, after: nil), try await queue.watch(id, peer: root, after: nil),
        ]
        generator.release()
        for watch in watches {
            var events: [JobEvent] = []
            for await event in watch.events { events.append(event) }
            #expect(
                events.map(name) == [
                    "progress 0", "progress 1", "preview 1 of frame 1", "progress 2", "preview 2 of frame 2",
                    "progress 3", "preview 3 of frame 0", "frames 0+1", "frames 1+1", "frames 2+1", "completed",
                ])
            #expect(events.map(\.id) == events.map(\.id).sorted() && Set(events.map(\.id)).count == events.count)
            #expect(events.map(\.progress) == events.map(\.progress).sorted() && events.last?.progress == 100)
            for case .preview(let jpeg, let width, let height, _) in events.map(\.kind) {
                #expect(jpeg.prefix(2) == [0xFF, 0xD8] && width == 8 && height == 8)
            }
        }
        await queue.stop()
    }

    @Test func lateClientsGetThePresentStateFirst() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 5)
        let queue = try await harness.open(generator)
        let id = try await queue.ask(1, steps: 12)
        try await eventually { try await queue.job(id, peer: alice).job.progress == 5 * 99 / 12 }
        var late = try await queue.watch(id, peer: alice, after: nil).events.makeAsyncIterator()
        let first = await late.next()
        #expect(first?.kind == .progress && first?.step == 5 && first?.progress == 41)
        generator.release()
        try await queue.finished(id)
        for _ in 0..<2 {
            var events: [JobEvent] = []
            for await event in try await queue.watch(id, peer: alice, after: nil).events { events.append(event) }
            #expect(events.map(name) == ["completed"] && events[0].step == 12 && events[0].progress == 100)
        }
        await queue.stop()
    }

    @Test func theLastEventIDResumes() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let id = try await queue.ask(1, steps: 3)
        var whole: [JobEvent] = []
        let watch = try await queue.watch(id, peer: alice, after: nil)
        generator.allow(2)
        for await event in watch.events {
            whole.append(event)
            if event.step == 2, name(event).hasPrefix("preview") { break }
        }
        var resumed: [(Int, JobWatch)] = []
        for place in whole.indices {
            resumed.append((place, try await queue.watch(id, peer: alice, after: whole[place].id)))
        }
        generator.release()
        let ending = ["progress 3", "preview 3 of frame 0", "frames 0+1", "frames 1+1", "frames 2+1", "completed"]
        for (place, watch) in resumed {
            var rest: [JobEvent] = []
            for await event in watch.events { rest.append(event) }
            let names = whole[(place + 1)...].map(name) + ending
            #expect(rest.map(name) == names)
        }
        try await queue.finished(id)
        // The end is told once; whoever has not seen all of it, or begins anew, gets what is missing; ids from nowhere the end.
        let missed = try await events(of: id, after: whole.last?.id, queue)
        #expect(missed.map(name) == ending)
        #expect(try await events(of: id, after: missed.last?.id, queue).isEmpty)
        #expect(try await events(of: id, after: 0, queue).map(name) == whole.dropFirst().map(name) + ending)
        for nonsense in [1, UInt64.max] {
            #expect(try await events(of: id, after: nonsense, queue).map(name) == ["completed"], "\(nonsense)")
        }
        await queue.stop()
    }

    @Test func eventsOfTheJobsThatEndedLastAreKept() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.endedLogs = 2
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator, limits: limits)
        // One that has not begun has only its state.
        let first = try await queue.ask(1, steps: 2)
        var begun = try await queue.watch(first, peer: alice, after: 0).events.makeAsyncIterator()
        #expect(await begun.next()?.step == 0)
        generator.release()
        let ids = [first, try await queue.ask(2, steps: 2), try await queue.ask(3, steps: 2)]
        for id in ids { try await queue.finished(id) }
        let all = [
            "progress 1", "preview 1 of frame 1", "progress 2", "preview 2 of frame 2", "frames 0+1", "frames 1+1",
            "frames 2+1", "completed",
        ]
        for (id, kept) in zip(ids, [["completed"], all, all]) {
            #expect(try await events(of: id, after: 0, queue).map(name) == kept)
        }
        try await queue.delete(ids[2], peer: alice)
        #expect(try await events(of: ids[1], after: 0, queue).map(name) == all)
        await queue.stop()

        // Previews count together.
        limits.previewBacklogBytes = 1
        let small = Harness()
        let next = try await small.open(FakeGenerator(), limits: limits)
        let id = try await next.ask(1, steps: 2)
        try await next.finished(id)
        #expect(try await events(of: id, after: 0, next).map(name) == ["completed"])
        await next.stop()
    }

    @Test func finishedFramesCanBeHadWhileTheVideoIsMade() async throws {
        let harness = Harness()
        let generator = FakeGenerator()
        generator.behaviour.withLock { $0.heldAtEnd = true }
        let queue = try await harness.open(generator)
        let id = try await queue.ask(5)
        let watch = try await queue.watch(id, peer: alice, after: 0)
        for await event in watch.events where name(event) == "frames 2+1" { break }
        #expect(try await queue.status(id) == .inProgress)
        let expected = (0..<3).map { FakeGenerator.encode(FakeGenerator.frame(5, $0)) }
        #expect(try await queue.frames(0..<3, of: id, peer: alice) == expected)
        #expect(try await queue.frames(1..<2, of: id, peer: alice) == [expected[1]])
        #expect(try await queue.frames(2..<4, of: id, peer: alice) == nil)
        await expectError({ if case .notFound = $0 { true } else { false } }) {
            _ = try await queue.frames(0..<1, of: id, peer: bob)
        }
        // They are not kept of a video that is not finished.
        await eventually { harness.names(in: "jobs/\(id)") == ["frames.bin.tmp", "job.json", "latents.bin.tmp"] }
        _ = try await queue.cancel(id, peer: alice)
        #expect(harness.names(in: "jobs/\(id)") == ["job.json"])
        #expect(try await queue.frames(0..<1, of: id, peer: alice) == nil)

        generator.behaviour.withLock { $0.heldAtEnd = false }
        let whole = try await queue.ask(5)
        try await queue.finished(whole)
        #expect(try await queue.frames(0..<3, of: whole, peer: alice) == expected)
        #expect(try await queue.frames(2..<4, of: whole, peer: alice) == nil)
        await queue.stop()
    }

    private func events(of id: String, after: UInt64?, _ queue: JobQueue) async throws -> [JobEvent] {
        var events: [JobEvent] = []
        for await event in try await queue.watch(id, peer: alice, after: after).events { events.append(event) }
        return events
    }

    @Test func idsGrowAcrossStarts() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 1)
        var queue = try await harness.open(generator)
        let id = try await queue.ask(1)
        var newest: UInt64 = 0
        for life in 0..<4 {
            try await eventually { try await queue.job(id, peer: alice).job.progress > 0 }
            var events = try await queue.watch(id, peer: alice, after: newest).events.makeAsyncIterator()
            let first = await events.next()
            #expect(first?.kind == .progress && first?.step == 1)
            #expect(first!.id > newest)
            newest = first!.id
            if life % 2 == 0 { harness.faults.set(.powerCut(at: 0)) }
            await queue.stop()
            #expect(await events.next() == nil || life >= 0)
            harness.faults.set(.none)
            generator.hold()
            generator.allow(1)
            queue = try await harness.open(generator)
        }
        generator.release()
        try await queue.finished(id)
        await queue.stop()
    }

    @Test func aStalledClientCostsPreviewsFirstAndNeverTheEnd() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.previewBacklogBytes = 24 * 5
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator, limits: limits)
        let id = try await queue.ask(1, steps: 40)
        let stalled = try await queue.watch(id, peer: alice, after: nil)
        generator.release()
        try await queue.finished(id)
        var names: [String] = []
        for await event in stalled.events { names.append(name(event)) }
        #expect(names.filter { $0.hasPrefix("progress") } == (0...40).map { "progress \($0)" })
        #expect(
            names.filter { $0.hasPrefix("preview") }.compactMap { $0.split(separator: " ").dropFirst().first }
                == ["36", "37", "38", "39", "40"])
        #expect(names.last == "completed")
        await queue.stop()
    }

    @Test func theBacklogIsBoundedAndLostEventsAreMadeUpByTheState() async throws {
        let log = EventLog(epoch: 1, backlog: 10, previewBytes: 0)
        func event(_ step: Int, _ kind: JobEvent.Kind = .progress) -> JobEvent {
            JobEvent(id: 0, kind: kind, step: step, steps: 99, frames: 1, progress: step)
        }
        let stalled = log.watch(after: nil, present: event(0), limit: 9)!
        for step in 1...50 {
            log.append(event(step))
            log.append(event(step, .preview(jpeg: [1], width: 1, height: 1, frame: 0)))
        }
        // Its id is of an event whose followers are dropped: the state comes first, then what follows.
        let back = log.watch(after: 1 << 32 | 3, present: event(50), limit: 9)!
        log.append(event(50, .failed))
        var steps: [Int] = []
        for await one in stalled.events { steps.append(one.step) }
        #expect(steps.first == 0 && steps.count <= 11 && steps.suffix(2) == [50, 50])
        var rest: [JobEvent] = []
        for await one in back.events { rest.append(one) }
        #expect(rest.map(\.step) == [50, 50] && rest.map(\.kind) == [.progress, .failed])
    }

    @Test func watchersAreCountedAndLimited() async throws {
        let harness = Harness()
        var limits = Harness.limits
        limits.subscribers = 3
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator, limits: limits)
        let id = try await queue.ask(1)
        var watches: [JobWatch] = []
        for _ in 0..<3 { watches.append(try await queue.watch(id, peer: alice, after: nil)) }
        #expect(await queue.statistics().watchers == 3)
        await expectError({ if case .quotaExceeded = $0 { true } else { false } }) {
            _ = try await queue.watch(id, peer: alice, after: nil)
        }
        // One that goes away while it waits, and one that never looked.
        let waiting = Task { [watch = watches[0]] in
            var count = 0
            for await _ in watch.events { count += 1 }
            return count
        }
        try await Task.sleep(for: .milliseconds(20))
        waiting.cancel()
        #expect(await waiting.value <= 1)
        // It is gone although somebody still holds its watch.
        await eventually { await queue.statistics().watchers == 2 }
        watches = []
        await eventually { await queue.statistics().watchers == 0 }
        _ = try await queue.watch(id, peer: alice, after: nil)
        await queue.stop()
    }

    @Test func cancelAndDeleteEndTheWatch() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator(allowed: 0))
        let running = try await queue.ask(1)
        let waiting = try await queue.ask(2)
        let third = try await queue.ask(3)
        let watches = [
            try await queue.watch(running, peer: alice, after: nil),
            try await queue.watch(waiting, peer: alice, after: nil),
        ]
        let gone = try await queue.watch(third, peer: alice, after: nil)
        _ = try await queue.cancel(waiting, peer: alice)
        _ = try await queue.cancel(running, peer: alice)
        for watch in watches {
            var last: JobEvent?
            for await event in watch.events { last = event }
            #expect(last?.kind == .failed)
        }
        try await queue.delete(third, peer: alice)
        for await _ in gone.events {}
        await queue.stop()
    }
}

@Suite struct LatestFrameTests {
    @Test func onlyTheNewestIsThere() async {
        let slot = LatestFrame()
        #expect(slot.current == nil)
        for step in 1...5 { slot.put(jpeg: [UInt8(step)], step: step, steps: 5, timestamp: 0) }
        let entry = await slot.next(after: 0)
        #expect(entry?.jpeg == [5] && entry?.sequence == 5)
        slot.end()
        #expect(await slot.next(after: 5) == nil)
        // Who comes late still gets the last one.
        #expect(await slot.next(after: 0)?.step == 5)
    }

    @Test func waitersWakeOnAFrameTheEndAndCancellation() async throws {
        let slot = LatestFrame()
        let frame = Task { await slot.next(after: 0) }
        let cancelled = Task { await slot.next(after: 9) }
        cancelled.cancel()
        #expect(await cancelled.value == nil)
        try await Task.sleep(for: .milliseconds(10))
        slot.put(jpeg: [1], step: 1, steps: 2, timestamp: 3)
        #expect(await frame.value?.timestamp == 3)
        let end = Task { await slot.next(after: 1) }
        try await Task.sleep(for: .milliseconds(10))
        slot.end()
        #expect(await end.value == nil)
    }

    @Test func aJobsPreviewsArriveAndEndWithItsLastFrame() async throws {
        let harness = Harness()
        let generator = FakeGenerator(allowed: 0)
        let queue = try await harness.open(generator)
        let id = try await queue.ask(3, steps: 3)
        let slot = try await queue.latestFrame(id, peer: alice)
        var sequence: UInt64 = 0
        var previews: [[UInt8]] = []
        for _ in 1...3 {
            generator.allow(1)
            let entry = try #require(await slot.next(after: sequence))
            sequence = entry.sequence
            previews.append(entry.jpeg)
        }
        #expect(previews.first == FakeGenerator.encode(FakeGenerator.frame(3, 1)))
        let job = try await queue.finished(id)
        let last = FakeGenerator.encode(FakeGenerator.frames(job.request).last!)
        #expect(slot.current?.jpeg == last)
        #expect(await slot.next(after: slot.current!.sequence) == nil)
        let later = try await queue.latestFrame(id, peer: alice)
        #expect(await later.next(after: 0)?.jpeg == last)
        await queue.stop()
    }
}
