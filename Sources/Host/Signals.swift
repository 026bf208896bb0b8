import Glibc
import Threads

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
        let thread = Thread("signals") {
            var set = Signals.terminating
            var received: Int32 = 0
            while sigwait(&set, &received) == 0 { continuation.yield(received) }
        }
        guard let thread else { preconditionFailure("no thread for signals") }
        thread.detach()
        return stream
    }

    private static var terminating: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }
}
