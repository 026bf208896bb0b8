/// Limits of the listener and of each connection. Every one exists so that no client can take the daemon from others.
public struct ServiceOptions: Sendable {
    /// Bytes of a request's line and header fields together.
    public var headerBytes = 16_384
    public var headerFields = 100
    /// Bytes of a request's body: a camera's picture in base64.
    public var bodyBytes = 8 << 20
    /// Bytes of all bodies that are arriving or being answered, but for the first 64 KiB of each.
    public var allBodiesBytes = 24 << 20
    /// Connections at once, and of one uid.
    public var connections = 256
    public var connectionsPerPeer = 128
    /// From the first byte of a request to the end of its header fields.
    public var headTimeout = Duration.seconds(10)
    /// From the first byte of a request to the end of its body.
    public var requestTimeout = Duration.seconds(30)
    /// Between two requests on one connection.
    public var idleTimeout = Duration.seconds(60)
    /// A client that takes nothing of an answer for so long is cut off.
    public var writeTimeout = Duration.seconds(30)
    /// For a camera's driver to come back with a picture or without.
    public var cameraMilliseconds: Int64 = 8000
    /// `SO_SNDBUF` of preview and event streams: what is in it is stale by the time it is read.
    public var streamSendBuffer = 16_384
    /// Members of this group see everybody's jobs, as root does.
    public var administratorGroup = "filoscope-admin"
    /// Instead of the name, where there is no such entry.
    var administratorGroupID: UInt32?
    /// Seconds a finished video is kept; `expires_at` is told only when there is such a limit.
    public var retentionSeconds: Int64?

    public init() {}
}
