import Glibc
import Synchronization

/// A thread of our own, for work that must not block the cooperative pool.
enum Thread {
    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` once at the lowest priority; `false` when the system has no thread to give.
    static func background(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Work(body))
        let status = pthread_create(
            &thread, nil,
            { context in
                // Linux gives every thread a nice value of its own; 0 is the calling one.
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
                Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, context.toOpaque())
        guard status == 0 else {
            context.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    private final class Ending: Sendable {
        private let result = Mutex<Result<Void, any Error>?>(nil)
        private nonisolated(unsafe) let ended: UnsafeMutablePointer<sem_t>

        init() {
            ended = .allocate(capacity: 1)
            sem_init(ended, 0, 0)
        }

        deinit {
            sem_destroy(ended)
            ended.deallocate()
        }

        func end(_ result: Result<Void, any Error>) {
            self.result.withLock { $0 = result }
            sem_post(ended)
        }

        func wait() throws {
            while sem_wait(ended) != 0 {}
            try result.withLock { $0 }?.get()
        }
    }

    /// Blocks the calling thread, which must not belong to the cooperative pool, until `body` has ended.
    static func wait(_ body: @escaping @Sendable () async throws -> Void) throws {
        let ending = Ending()
        Task.detached {
            do {
                ending.end(.success(try await body()))
            } catch {
                ending.end(.failure(error))
            }
        }
        try ending.wait()
    }
}
