import CLinux
import Glibc

/// SIGTERM and SIGINT, taken by a thread that does nothing else.
public enum Signals {
    /// Must run before any other thread exists: threads inherit the mask, and one that doesn't would be killed.
    public static func prepare() {
        signal(SIGPIPE, SIG_IGN)
        var set = Self.terminating
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// The terminating signals as they come. Sleeps in the kernel in between.
    public static func terminations() -> AsyncStream<Int32> {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        let box = Unmanaged.passRetained(Box(continuation))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                cl_set_thread_name("signals")
                var set = Signals.terminating
                var received: Int32 = 0
                while sigwait(&set, &received) == 0 { box.continuation.yield(received) }
                return nil
            }, box.toOpaque())
        precondition(result == 0, "no thread for signals: \(result)")
        pthread_detach(thread)
        return stream
    }

    private static var terminating: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    private final class Box: Sendable {
        let continuation: AsyncStream<Int32>.Continuation
        init(_ continuation: AsyncStream<Int32>.Continuation) { self.continuation = continuation }
    }
}
