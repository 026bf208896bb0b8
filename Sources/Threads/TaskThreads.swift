/// The threads that run the daemon's tasks: a few of our own, asleep while there is nothing to do.
///
/// Dispatch's pool, which runs tasks otherwise, looks every second whether its threads are stuck, for as long as the
/// process lives; a kiosk that is idle should not wake up. For the same reason nothing here uses `Task.sleep`.
public final class TaskThreads: TaskExecutor {
    /// Of the whole process. As many as the cooperative pool would have, within 2...4: handlers encode pictures too.
    public static let shared = TaskThreads(count: min(4, max(2, Thread.processors)))

    private let queue = Monitor<[UnownedJob]>([])

    /// The threads are never stopped: whatever is enqueued is run.
    public init(count: Int) {
        for number in 0..<max(1, count) {
            let thread = Thread("tasks-\(number)") { [queue, unowned(unsafe) self] in
                while let job = queue.wait({ $0.isEmpty ? nil : $0.removeFirst() }) {
                    job.runSynchronously(on: self.asUnownedTaskExecutor())
                }
            }
            guard let thread else {
                precondition(number > 0, "no thread to run tasks on")
                break
            }
            thread.detach()
        }
        // The threads refer to it without counting.
        _ = Unmanaged.passRetained(self)
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.change { $0.append(job) }
    }
}

extension Task where Success: Sendable, Failure == Never {
    /// A task of the daemon: on `TaskThreads.shared`, and everything it calls with it.
    @discardableResult
    public static func daemon(_ body: @escaping @Sendable () async -> Success) -> Task<Success, Never> {
        Task(executorPreference: TaskThreads.shared) { await body() }
    }
}

/// Blocks the calling thread, which must not be one of those that run tasks, until `body` has ended.
public func waitForTask<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
) throws -> Result {
    let ending = Monitor<Swift.Result<Result, any Error>?>(nil)
    Task<Void, Never>.daemon {
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        ending.change { $0 = result }
    }
    guard let result = ending.wait({ $0 }) else { preconditionFailure("waited without a limit") }
    return try result.get()
}
