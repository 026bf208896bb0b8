import NIOCore
import NIOHTTP1
import Threads

/// Turns the parts of requests into whole requests, one at a time, and keeps the limits of a connection.
///
/// Lives on its channel's event loop. Answers are made and written by a task of their own; while one is being made,
/// at most one more read of the socket is held back (pipelining), then reading stops.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// No head of a request has come yet.
        case waiting
        case receiving(HTTPRequestHead)
        case responding
        /// Whatever the client still says is of no interest, only that it is there.
        case streaming
        /// The last answer is written; unread input is thrown away, so that closing doesn't destroy the answer.
        case draining
        case closed
    }

    private let answer: @Sendable (Request) async -> Response
    private let peer: ConnectionPeer
    private let connections: ConnectionRegistry
    private let options: ServiceOptions
    private let budget: BodyBudget

    private var state = State.waiting
    private var body: [UInt8] = []
    /// What this request's body takes of the budget, until it is answered.
    private var bodyShare = 0
    /// Bytes that came since the previous request ended.
    private var requestBytes = 0
    private var requestStart = NIODeadline.distantFuture
    private var deadline: Scheduled<Void>?
    /// Counts what `deadline` was set to: a timer that expired in the same turn of the loop can't be cancelled any more.
    private var deadlineNumber = 0
    private var held = CircularBuffer<HTTPServerRequestPart>()
    private var heldError: (any Error)?
    private var readingIsPaused = false
    private var readIsDue = false
    private var inputHasEnded = false
    private var task: Task<Void, Never>?
    private var context: ChannelHandlerContext?

    init(
        peer: ConnectionPeer, connections: ConnectionRegistry, options: ServiceOptions, budget: BodyBudget,
        answer: @escaping @Sendable (Request) async -> Response
    ) {
        self.peer = peer
        self.connections = connections
        self.options = options
        self.budget = budget
        self.answer = answer
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        arm(.idle, context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        state = .closed
        disarm()
        task?.cancel()
        held.removeAll()
        dropBody()
        context.fireChannelInactive()
    }

    func read(context: ChannelHandlerContext) {
        if readingIsPaused {
            readIsDue = true
        } else {
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            inputHasEnded = true
            switch state {
            // A client that said its request and then "no more" still wants the answer.
            case .responding, .streaming, .closed: break
            case .waiting, .receiving, .draining: context.close(promise: nil)
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch (error, state) {
        case (_, .closed), (_, .draining), (_, .streaming): context.close(promise: nil)
        case (is HTTPParserError, .responding): heldError = error
        case (let error as HTTPParserError, _):
            let limit = options.headerBytes
            refuse(
                error == .headerOverflow
                    ? .headersTooLarge(limit: limit) : .notHTTP("what came is not an HTTP/1.1 request (\(error))"),
                context)
        default: context.close(promise: nil)
        }
    }

    // MARK: Requests

    /// Told of every read before the parser sees it; `false` throws the bytes away.
    func accepts(bytes count: Int) -> Bool {
        guard let context else { return false }
        switch state {
        case .streaming, .draining, .closed:
            return false
        case .responding:
            pauseReading()
        case .waiting:
            if requestBytes == 0 { begin(context) }
        case .receiving:
            break
        }
        requestBytes += count
        return true
    }

    /// Told of every read after the parser saw it.
    func parsed() {
        guard let context else { return }
        switch state {
        case .waiting where requestBytes > options.headerBytes:
            refuse(.headersTooLarge(limit: options.headerBytes), context)
        // Chunked framing may cost more than what it carries; six bytes for one is the least generous honest case.
        case .receiving where requestBytes > options.headerBytes + 8 * options.bodyBytes:
            refuse(.tooLarge(limit: options.bodyBytes), context)
        default:
            break
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch (state, part) {
        case (.waiting, .head(let head)):
            receive(head, context)
        case (.receiving, .body(let buffer)):
            guard body.count + buffer.readableBytes <= options.bodyBytes else {
                return refuse(.tooLarge(limit: options.bodyBytes), context)
            }
            let share = max(0, body.count + buffer.readableBytes - BodyBudget.free)
            guard budget.take(share - bodyShare) else {
                return refuse(.bodiesTooLarge(limit: budget.limit), context)
            }
            bodyShare = share
            body.append(contentsOf: buffer.readableBytesView)
        case (.receiving(let head), .end):
            respond(to: head, context)
        case (.responding, _):
            held.append(part)
        default:
            break
        }
    }

    private func begin(_ context: ChannelHandlerContext) {
        requestStart = .now()
        connections.works(context.channel)
        arm(.head, context)
    }

    private func receive(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let size = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        guard size <= options.headerBytes, head.headers.count <= options.headerFields else {
            return refuse(.headersTooLarge(limit: options.headerBytes), context)
        }
        guard head.version.major == 1 else { return refuse(.notHTTP("only HTTP/1.1 is spoken here"), context) }
        if let length = head.headers.first(name: "Content-Length").flatMap({ Int($0) }), length > options.bodyBytes {
            return refuse(.tooLarge(limit: options.bodyBytes), context)
        }
        state = .receiving(head)
        body = []
        arm(.request, context)
        if head.headers.first(name: "Expect")?.lowercased() == "100-continue" {
            context.writeAndFlush(
                wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
        }
    }

    private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        disarm()
        state = .responding
        requestBytes = 0
        let body = body
        self.body = []
        // After an upgrade the parser would take nothing more, so such a connection serves one request.
        let keepAlive =
            head.isKeepAlive && head.version.minor >= 1 && head.method != .CONNECT
            && !head.headers.contains(name: "Upgrade")
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, context), eventLoop: loop)
        let writer = AnswerWriter(
            channel: context.channel, version: head.version, isHead: head.method == .HEAD, options: options)
        let peer = peer.peer
        let answer = answer
        task = Task.daemon {
            let response: Response
            do {
                response = await answer(try Request(head: head, body: body, peer: peer))
            } catch {
                response = Problem(error).response
            }
            var keepAlive = keepAlive
            if case .stream = response.body {
                keepAlive = false
                _ = try? await loop.submit { bound.value.0.beginStreaming(bound.value.1) }.get()
            }
            do {
                try await writer.write(response, keepAlive: keepAlive)
            } catch {
                writer.channel.close(promise: nil)
                return
            }
            loop.execute { [keepAlive] in bound.value.0.finished(keepAlive: keepAlive, bound.value.1) }
        }
    }

    private func beginStreaming(_ context: ChannelHandlerContext) {
        guard case .responding = state else { return }
        state = .streaming
        dropBody()
        held.removeAll()
        resumeReading(context)
    }

    private func dropBody() {
        body = []
        budget.give(bodyShare)
        bodyShare = 0
    }

    private func finished(keepAlive: Bool, _ context: ChannelHandlerContext) {
        task = nil
        dropBody()
        switch state {
        case .responding, .streaming: break
        case .waiting, .receiving, .draining, .closed: return
        }
        guard keepAlive else { return drain(context) }
        state = .waiting
        if requestBytes > 0 {
            begin(context)
        } else {
            connections.rests(context.channel, uid: peer.peer.uid)
            arm(.idle, context)
        }
        while let part = held.popFirst() {
            channelRead(context: context, data: NIOAny(part))
            // The rest waits for the answer to what was found.
            if case .responding = state { return }
        }
        if let error = heldError {
            heldError = nil
            return errorCaught(context: context, error: error)
        }
        if inputHasEnded { return context.close(promise: nil) }
        resumeReading(context)
    }

    // MARK: Ends

    private func refuse(_ error: ServiceError, _ context: ChannelHandlerContext) {
        var response = Problem(error).response
        guard case .bytes(let bytes) = response.body else { return context.close(promise: nil) }
        response.headers.replaceOrAdd(name: "Content-Length", value: String(bytes.count))
        response.headers.replaceOrAdd(name: "Connection", value: "close")
        let head = HTTPResponseHead(version: .http1_1, status: response.status, headers: response.headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        drain(context)
    }

    private func drain(_ context: ChannelHandlerContext) {
        state = .draining
        dropBody()
        held.removeAll()
        arm(.drain, context)
        if inputHasEnded { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        resumeReading(context)
    }

    private func pauseReading() { readingIsPaused = true }

    private func resumeReading(_ context: ChannelHandlerContext) {
        readingIsPaused = false
        guard readIsDue else { return }
        readIsDue = false
        context.read()
    }

    private enum Wait { case idle, head, request, drain }

    private func disarm() {
        deadline?.cancel()
        deadline = nil
        deadlineNumber += 1
    }

    private func arm(_ wait: Wait, _ context: ChannelHandlerContext) {
        disarm()
        let number = deadlineNumber
        let when: NIODeadline
        switch wait {
        case .idle: when = .now() + TimeAmount(options.idleTimeout)
        case .head: when = requestStart + TimeAmount(options.headTimeout)
        case .request: when = requestStart + TimeAmount(options.requestTimeout)
        case .drain: when = .now() + .seconds(2)
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(deadline: when) {
            let (handler, context) = bound.value
            guard handler.deadlineNumber == number else { return }
            switch wait {
            case .idle, .drain: context.close(promise: nil)
            case .head: handler.refuse(.timeout(seconds: handler.options.headTimeout.inSeconds), context)
            case .request: handler.refuse(.timeout(seconds: handler.options.requestTimeout.inSeconds), context)
            }
        }
    }
}

/// Stands before the parser: the parser itself bounds neither the length of a target nor the time a request takes.
final class ByteCounter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: ConnectionHandler

    init(connection: ConnectionHandler) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard connection.accepts(bytes: unwrapInboundIn(data).readableBytes) else { return }
        context.fireChannelRead(data)
        connection.parsed()
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
