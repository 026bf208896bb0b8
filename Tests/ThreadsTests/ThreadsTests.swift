import FoundationEssentials
import Glibc
import Testing
import Threads

private func threadName() -> String {
    let name = (try? Data(contentsOf: URL(filePath: "/proc/thread-self/comm"))) ?? Data()
    return String(decoding: name.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}

private struct Failed: Error {}

@Suite struct ThreadTests {
    @Test func runsItsBodyUnderItsName() throws {
        let name = Locked("")
        let niceness = Locked(Int32(-1))
        let thread = Thread("a thread", niceness: 19) {
            name.withLock { $0 = threadName() }
            niceness.withLock { $0 = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }
        }
        try #require(thread).join()
        #expect(name.withLock { $0 } == "a thread")
        #expect(niceness.withLock { $0 } == 19)
    }

    @Test func computingThreadsAreScheduledAsBatch() throws {
        let policies = Locked<[Int32]>([])
        for computes in [true, false] {
            let thread = Thread("a thread", computes: computes) {
                policies.withLock { $0.append(sched_getscheduler(0)) }
            }
            try #require(thread).join()
        }
        #expect(policies.withLock { $0 } == [3 /* SCHED_BATCH */, SCHED_OTHER])
    }
}

@Suite struct MonitorTests {
    @Test func givesUpAfterTheLimit() {
        let monitor = Monitor(0)
        let started = ContinuousClock.now
        #expect(monitor.wait(atMost: .milliseconds(30)) { $0 > 0 ? $0 : nil } == nil)
        #expect(ContinuousClock.now - started >= .milliseconds(30))
    }

    @Test func wakesWhoWaits() throws {
        let monitor = Monitor<[Int]>([])
        let sum = Locked(0)
        let thread = Thread("reader") {
            for _ in 0..<1000 {
                guard let next = monitor.wait({ $0.isEmpty ? nil : $0.removeFirst() }) else { return }
                sum.withLock { $0 += next }
            }
        }
        for number in 1...1000 { monitor.change { $0.append(number) } }
        try #require(thread).join()
        #expect(sum.withLock { $0 } == 500_500)
    }
}

@Suite struct TaskThreadsTests {
    @Test func tasksAndTheirChildrenRunOnItsThreads() throws {
        let names = try waitForTask {
            await withTaskGroup(of: String.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        await Task.yield()
                        return threadName()
                    }
                }
                return await group.reduce(into: [threadName()]) { $0.append($1) }
            }
        }
        #expect(names.count == 21)
        #expect(names.allSatisfy { $0.hasPrefix("tasks-") }, "\(names)")
    }

    private actor Counter {
        var count = 0
        func add() -> String {
            count += 1
            return threadName()
        }
    }

    @Test func actorsRunWhereTheirCallerDoes() throws {
        let counter = Counter()
        let name = try waitForTask {
            for _ in 0..<10 { _ = await counter.add() }
            return await counter.add()
        }
        #expect(name.hasPrefix("tasks-"))
    }

    @Test func oneThatBlocksDoesNotHoldUpTheOthers() throws {
        let gate = Monitor(false)
        let blocked = Task.daemon { gate.wait { $0 ? true : nil } }
        let seven = try waitForTask { 7 }
        #expect(seven == 7)
        gate.change { $0 = true }
        let opened = try waitForTask { await blocked.value }
        #expect(opened == true)
    }

    @Test func errorsComeThrough() {
        #expect(throws: Failed.self) {
            try waitForTask { () async throws -> Void in throw Failed() }
        }
    }
}
