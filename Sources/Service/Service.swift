import Camera
import Glibc
import Jobs
import NIOCore
import NIOHTTP1
import NIOPosix
import Video

/// The HTTP service on a Unix socket: one event-loop thread, and one thread that puts containers together.
public final class Service: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let encoder: ContentEncoder
    private let scaler = PreviewScaler()
    private let connections: ConnectionRegistry
    private let router: Router
    private let options: ServiceOptions
    private let budget: BodyBudget

    /// - Parameter takePictures: takes them from the camera, at least as large as they are asked for where it can, and blocks its
    ///   thread for at most about five seconds and the length of a clip; nil where no camera may be used.
    public init(
        jobs: JobQueue, generator: any FrameGenerator, options: ServiceOptions = .init(),
        takePictures: (@Sendable (PictureOrder) throws(CameraError) -> [Frame])? = nil,
        host: @escaping @Sendable () -> HostFacts = { HostFacts() },
        log: @escaping @Sendable (ServiceLogEvent) -> Void = { _ in }
    ) {
        self.options = options
        budget = BodyBudget(limit: options.allBodiesBytes)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        encoder = ContentEncoder()
        let loop = group.next()
        let camera = takePictures.map {
            PictureTaker(loop: loop, limit: .milliseconds(options.cameraMilliseconds), take: $0)
        }
        connections = ConnectionRegistry(total: options.connections, perPeer: options.connectionsPerPeer)
        router = Router(
            jobs: jobs, generator: generator, options: options, encoder: encoder, metrics: Metrics(),
            connections: connections, streams: StreamRegistry(), scaler: scaler, camera: camera,
            host: host, log: log)
    }

    /// Serves until `stop`; may be called for several listeners.
    ///
    /// - Returns: what `stop` needs to remove the socket that was bound here.
    public func start(_ listener: consuming Listener, for audience: Audience = .users) async throws -> RunningService {
        let path = listener.path
        let administratorGroup =
            options.administratorGroupID ?? ConnectionPeer.administrators(named: options.administratorGroup)
        let connections = connections
        let options = options
        let router = router
        let budget = budget
        let answer: @Sendable (Request) async -> Response =
            switch audience {
            case .users: { await router.respond(to: $0) }
            case .browsers(let settings): { await Kiosk(router: router, settings: settings).respond(to: $0) }
            }
        let channel = try await ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    let peer = try pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
                        ConnectionPeer(descriptor: $0, administratorGroup: administratorGroup)
                    }
                    guard let peer, let peer else { throw ChannelError.operationUnsupported }
                    if let cap = connections.admit(channel, uid: peer.peer.uid) {
                        try pipeline.addHandler(RefusedConnection(limit: cap))
                        return
                    }
                    var limits = NIOHTTPDecoderLimitConfiguration()
                    limits.maxHeaderFieldSize = options.headerBytes
                    limits.maxHeaderListSize = options.headerBytes
                    limits.maxHeaderFieldCount = options.headerFields
                    let connection = ConnectionHandler(
                        peer: peer, connections: connections, options: options, budget: budget, answer: answer)
                    try pipeline.addHandlers([
                        ByteCounter(connection: connection),
                        ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)),
                        HTTPResponseEncoder(), connection,
                    ])
                }
            }
            .withBoundSocket(listener.take())
            .get()
        return RunningService(channel: channel, path: path)
    }

    /// Stops accepting, cuts every connection, and ends the threads.
    public func stop(_ running: [RunningService]) async {
        for listener in running {
            try? await listener.channel.close().get()
            if let path = listener.path { unlink(path) }
        }
        connections.closeAll()
        try? await group.shutdownGracefully()
        await encoder.stop()
        await scaler.stop()
    }

    /// Open connections.
    public var connectionCount: Int { connections.count }

    /// Those of them that were kept alive after an answer.
    var restingConnectionCount: Int { connections.restingCount }

    /// Returns once the event loop has turned: the watchdog's look at it.
    public func roundTrip() async throws { try await group.next().submit {}.get() }
}

/// A listening service.
public struct RunningService: Sendable {
    let channel: any Channel
    let path: String?
}
