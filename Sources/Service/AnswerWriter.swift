import NIOCore
import NIOHTTP1

/// Writes one answer. Every write is awaited until the kernel took it: `write` alone would queue without bound for a
/// client that never reads.
struct AnswerWriter: Sendable {
    static let pieceBytes = 1 << 18

    let channel: any Channel
    let version: HTTPVersion
    let isHead: Bool
    let options: ServiceOptions

    func write(_ response: Response, keepAlive: Bool) async throws {
        var headers = response.headers
        if !keepAlive { headers.replaceOrAdd(name: "Connection", value: "close") }
        switch response.body {
        case .bytes(let bytes):
            headers.replaceOrAdd(name: "Content-Length", value: String(bytes.count))
            try await head(response.status, headers, flush: bytes.isEmpty || isHead)
            if !isHead {
                for start in stride(from: 0, to: bytes.count, by: Self.pieceBytes) {
                    let piece = bytes[start..<min(start + Self.pieceBytes, bytes.count)]
                    try await flushed(.body(.byteBuffer(ByteBuffer(bytes: piece))))
                }
            }
        case .stream(let produce):
            // Setting it may fail where the system forbids it; the stream works all the same.
            _ = try? await channel.setOption(
                .socketOption(.so_sndbuf), value: SocketOptionValue(options.streamSendBuffer)
            ).get()
            try await head(response.status, headers, flush: true)
            if !isHead {
                let writer = StreamWriter(answer: self)
                defer { writer.endRepeating() }
                try await produce(writer)
            }
        }
        try await flushed(.end(nil))
    }

    private func head(_ status: HTTPResponseStatus, _ headers: HTTPHeaders, flush: Bool) async throws {
        let part = HTTPServerResponsePart.head(HTTPResponseHead(version: version, status: status, headers: headers))
        if flush {
            try await flushed(part)
        } else {
            channel.write(part, promise: nil)
        }
    }

    /// Returns when the kernel has all of it; a client that takes nothing for `writeTimeout` loses its connection.
    fileprivate func flushed(_ part: HTTPServerResponsePart) async throws {
        let channel = channel
        let promise = channel.eventLoop.makePromise(of: Void.self)
        let timer = channel.eventLoop.scheduleTask(in: TimeAmount(options.writeTimeout)) {
            channel.close(promise: nil)
        }
        promise.futureResult.whenComplete { _ in timer.cancel() }
        channel.writeAndFlush(part, promise: promise)
        try await promise.futureResult.get()
    }
}

/// The body of a stream that is being written.
struct StreamWriter: Sendable {
    fileprivate let answer: AnswerWriter
    private let repetition: NIOLoopBoundBox<Repetition>

    fileprivate init(answer: AnswerWriter) {
        self.answer = answer
        repetition = .makeBoxSendingValue(Repetition(), eventLoop: answer.channel.eventLoop)
    }

    /// Returns when the kernel has taken all bytes, so that the next frame is chosen only then.
    ///
    /// - Parameter interval: after it, and again after each further one, the same bytes are sent once more if nothing else was.
    func write(_ bytes: [UInt8], repeatedEvery interval: TimeAmount? = nil) async throws {
        try Task.checkCancellation()
        endRepeating()
        let buffer = ByteBuffer(bytes: bytes)
        try await answer.flushed(.body(.byteBuffer(buffer)))
        guard let interval else { return }
        let (answer, repetition) = (answer, repetition)
        answer.channel.eventLoop.execute {
            guard repetition.value.task == nil, answer.channel.isActive else { return }
            repetition.value.task = answer.channel.eventLoop.scheduleRepeatedTask(
                initialDelay: interval, delay: interval
            ) { task in
                guard answer.channel.isActive else { return task.cancel() }
                // For a client that doesn't read one sign of life is enough.
                guard answer.channel.isWritable, !repetition.value.isWriting else { return }
                repetition.value.isWriting = true
                let part = HTTPServerResponsePart.body(.byteBuffer(buffer))
                answer.channel.writeAndFlush(part).whenComplete { _ in repetition.value.isWriting = false }
            }
        }
    }

    /// Returns at that time, or throws when the client has gone.
    func pause(until deadline: NIODeadline) async throws {
        try Task.checkCancellation()
        guard deadline > .now() else { return }
        let wait = answer.channel.eventLoop.scheduleTask(deadline: deadline) {}
        try await withTaskCancellationHandler {
            try await wait.futureResult.get()
        } onCancel: {
            wait.cancel()
        }
        try Task.checkCancellation()
    }

    fileprivate func endRepeating() {
        // A loop that has shut down takes nothing any more; the repetition has ended with its channel.
        guard answer.channel.isActive else { return }
        let repetition = repetition
        answer.channel.eventLoop.execute {
            repetition.value.task?.cancel()
            repetition.value.task = nil
        }
    }

    private struct Repetition {
        var task: RepeatedTask?
        var isWriting = false
    }
}
