import CVideo4Linux
import Glibc
import Threads
import Video

@testable import Camera

/// A driver of one node, which does what a test tells it.
final class FakeDriver: Sendable {
    struct State {
        /// Descriptors given out and taken back.
        var opened = 0
        var closed = 0
        var openError: Int32 = 0
        var capabilities = UInt32(V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_READWRITE)
        /// Answers VIDIOC_S_FMT and VIDIOC_TRY_FMT: 0 or a positive errno.
        var format: @Sendable (inout v4l2_format) -> Int32 = { _ in 0 }
        /// Formats of VIDIOC_ENUM_FMT.
        var formats = [cv_YUYV]
        /// Answers to writes before those that take everything: a count, or -errno.
        var writes: [Int] = []
        /// When these have been used up, every write fails so.
        var writesEndWith: Int?
        var polls: [Int32] = []
        var pollCount = 0
        /// What was taken, one entry a write.
        var written: [[UInt8]] = []
        var rate: UInt32 = 0

        // Of a camera.
        var buffers: UInt32 = 4
        var bufferLength: UInt32 = 0
        /// Replaces what VIDIOC_DQBUF answers.
        var dequeue: @Sendable (inout v4l2_buffer) -> Int32 = { _ in 0 }
        /// The frames it sends in turn; the last one again and again.
        var frames: [[UInt8]] = []
        var sent = 0
        var queued: [UInt32] = []
        var streaming = false
        var mapped: [UInt: Int] = [:]
        var clock = 0.0
    }
    let state = Locked(State())

    init(_ adjust: (inout State) -> Void = { _ in }) { state.withLock(adjust) }

    subscript<T>(_ path: KeyPath<State, T>) -> T { state.withLock { $0[keyPath: path] } }

    /// The clock of these stands still but for what polls wait.
    var operations: DeviceOperations {
        DeviceOperations(
            open: { [self] _ in
                state.withLock { state in
                    guard state.openError == 0 else { return -state.openError }
                    state.opened += 1
                    return 1000
                }
            },
            close: { [self] _ in state.withLock { $0.closed += 1 } },
            ioctl: { [self] in ioctl($1, $2) },
            read: { _, _ in -Int(ENOTSUP) },
            write: { [self] in write($1) },
            map: { [self] _, length, offset in
                let start = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 16)
                start.initializeMemory(as: UInt8.self, repeating: 0, count: length)
                state.withLock { $0.mapped[UInt(bitPattern: start)] = offset }
                return start
            },
            unmap: { [self] start, _ in
                state.withLock { $0.mapped[UInt(bitPattern: start)] = nil }
                start.deallocate()
            },
            poll: { [self] _, events, milliseconds in
                state.withLock { state in
                    state.pollCount += 1
                    let answer = state.polls.isEmpty ? Int32(events) : state.polls.removeFirst()
                    if answer == 0 { state.clock += Double(milliseconds) / 1000 }
                    return answer
                }
            },
            now: { [self] in state.withLock { $0.clock } })
    }

    private func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        state.withLock { state in
            var count = bytes.count
            if !state.writes.isEmpty {
                count = state.writes.removeFirst()
            } else if let end = state.writesEndWith {
                count = end
            }
            if count > 0 { state.written.append(Array(bytes.prefix(count))) }
            return count
        }
    }

    private func ioctl(_ request: UInt, _ argument: UnsafeMutableRawPointer) -> Int32 {
        state.withLock { state in
            switch request {
            case cv_QUERYCAP:
                argument.assumingMemoryBound(to: v4l2_capability.self).pointee.capabilities = state.capabilities
                return 0
            case cv_S_FMT, cv_TRY_FMT:
                return -state.format(&argument.assumingMemoryBound(to: v4l2_format.self).pointee)
            case cv_ENUM_FMT:
                let answer = argument.assumingMemoryBound(to: v4l2_fmtdesc.self)
                guard answer.pointee.index < state.formats.count else { return -EINVAL }
                answer.pointee.pixelformat = state.formats[Int(answer.pointee.index)]
                return 0
            case cv_S_PARM:
                state.rate =
                    argument.assumingMemoryBound(to: v4l2_streamparm.self).pointee.parm.output.timeperframe
                    .denominator
                return 0
            case cv_REQBUFS:
                argument.assumingMemoryBound(to: v4l2_requestbuffers.self).pointee.count = state.buffers
                return 0
            case cv_QUERYBUF:
                let buffer = argument.assumingMemoryBound(to: v4l2_buffer.self)
                buffer.pointee.length = state.bufferLength
                buffer.pointee.m.offset = buffer.pointee.index * 0x1000
                return 0
            case cv_QBUF:
                state.queued.append(argument.assumingMemoryBound(to: v4l2_buffer.self).pointee.index)
                return 0
            case cv_DQBUF:
                let buffer = argument.assumingMemoryBound(to: v4l2_buffer.self)
                guard !state.queued.isEmpty, !state.frames.isEmpty else { return -EAGAIN }
                buffer.pointee.index = state.queued.removeFirst()
                let frame = state.frames[min(state.sent, state.frames.count - 1)]
                state.sent += 1
                let offset = Int(buffer.pointee.index) * 0x1000
                if let start = state.mapped.first(where: { $0.value == offset })?.key {
                    UnsafeMutableRawPointer(bitPattern: start)?.copyMemory(
                        from: frame, byteCount: min(frame.count, Int(state.bufferLength)))
                }
                buffer.pointee.bytesused = UInt32(frame.count)
                return -state.dequeue(&buffer.pointee)
            case cv_STREAMON, cv_STREAMOFF:
                state.streaming = request == cv_STREAMON
                return 0
            default: return -ENOTTY
            }
        }
    }
}

extension Size {
    /// For tests, which know that it is one.
    static func of(_ width: Int, _ height: Int) -> Size {
        guard let size = Size(width: width, height: height) else { fatalError("\(width)x\(height) is no size") }
        return size
    }
}

/// Colours that change from pixel to pixel and with `seed`, each 0...255.
func picture(_ width: Int, _ height: Int, seed: Int = 0) -> Frame {
    Frame(
        size: .of(width, height),
        pixels: (0..<width * height * 3).map {
            UInt8(truncatingIfNeeded: ($0 * 7 + $0 / 3 * 5 + seed * 31) ^ ($0 >> 4))
        })
}
