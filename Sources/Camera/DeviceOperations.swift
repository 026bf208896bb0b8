internal import CVideo4Linux
import Glibc

/// The calls a video device is driven with, so that tests can be the driver. A call that fails gives `-errno`.
public struct DeviceOperations: Sendable {
    /// A descriptor that doesn't block.
    public var open: @Sendable (_ path: String) -> Int32
    public var close: @Sendable (_ descriptor: Int32) -> Void
    public var ioctl: @Sendable (_ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawPointer) -> Int32
    public var read: @Sendable (_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int
    public var write: @Sendable (_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int
    /// `nil` when the driver doesn't give its memory.
    public var map: @Sendable (_ descriptor: Int32, _ length: Int, _ offset: Int) -> UnsafeMutableRawPointer?
    public var unmap: @Sendable (_ start: UnsafeMutableRawPointer, _ length: Int) -> Void
    /// Waits for `events` at most so many milliseconds; what came of them, 0 when the time is over.
    public var poll: @Sendable (_ descriptor: Int32, _ events: Int16, _ milliseconds: Int32) -> Int32
    /// Seconds of a clock that nobody sets.
    public var now: @Sendable () -> Double

    public init(
        open: @escaping @Sendable (String) -> Int32, close: @escaping @Sendable (Int32) -> Void,
        ioctl: @escaping @Sendable (Int32, UInt, UnsafeMutableRawPointer) -> Int32,
        read: @escaping @Sendable (Int32, UnsafeMutableRawBufferPointer) -> Int,
        write: @escaping @Sendable (Int32, UnsafeRawBufferPointer) -> Int,
        map: @escaping @Sendable (Int32, Int, Int) -> UnsafeMutableRawPointer?,
        unmap: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void,
        poll: @escaping @Sendable (Int32, Int16, Int32) -> Int32, now: @escaping @Sendable () -> Double
    ) {
        self.open = open
        self.close = close
        self.ioctl = ioctl
        self.read = read
        self.write = write
        self.map = map
        self.unmap = unmap
        self.poll = poll
        self.now = now
    }

    /// The kernel's devices, through libv4l2.
    public static let libv4l2 = DeviceOperations(
        open: { cv_open($0) },
        close: { _ = v4l2_close($0) },
        ioctl: { cv_ioctl($0, $1, $2) },
        read: { descriptor, buffer in
            let count = v4l2_read(descriptor, buffer.baseAddress, buffer.count)
            return count < 0 ? -Int(errno) : count
        },
        write: { descriptor, bytes in
            let count = v4l2_write(descriptor, bytes.baseAddress, bytes.count)
            return count < 0 ? -Int(errno) : count
        },
        map: { descriptor, length, offset in
            let start = v4l2_mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, Int64(offset))
            return start == MAP_FAILED ? nil : start
        },
        unmap: { _ = v4l2_munmap($0, $1) },
        poll: { descriptor, events, milliseconds in
            var entry = pollfd(fd: descriptor, events: events, revents: 0)
            let count = Glibc.poll(&entry, 1, milliseconds)
            return count < 0 ? -errno : count == 0 ? 0 : Int32(entry.revents)
        },
        now: {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
        })
}
