import CSystemd
import Glibc

/// What systemd is told and asks; every call does nothing when the process was not started by it.
public enum ServiceManager {
    /// Says that requests are served now. `status` is one line for `systemctl status`.
    public static func ready(status: String) { notify("READY=1\nSTATUS=\(oneLine(status))") }

    public static func status(_ text: String) { notify("STATUS=\(oneLine(text))") }

    public static func stopping(status: String) { notify("STOPPING=1\nSTATUS=\(oneLine(status))") }

    /// Must come more often than ``watchdogInterval``, or the process is killed and started again.
    public static func aliveSign() { notify("WATCHDOG=1") }

    /// `WatchdogSec=` of the unit; `nil` when nobody watches this process.
    public static func watchdogInterval() -> Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }

    /// Sockets handed over by socket activation, by `FileDescriptorName=`. They are passed once: later calls, and
    /// child processes, see none.
    public static func handedOverSockets() -> [(name: String, descriptor: Int32)] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &names)
        guard count > 0 else { return [] }
        defer {
            for index in 0..<Int(count) { free(names?[index]) }
            free(names)
        }
        // SD_LISTEN_FDS_START is 3.
        return (0..<Int(count)).map { (names?[$0].map { String(cString: $0) } ?? "", Int32(3 + $0)) }
    }

    private static func notify(_ state: String) { _ = sd_notify(0, state) }

    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}
