import Camera

/// What the host tells about itself for `/state` and `/metrics`; `nil` is not known.
public struct HostFacts: Sendable, Encodable {
    public var version: String?
    /// The kernels in use, as `avx512vnni`.
    public var kernels: String?
    public var threads: Int?
    /// Bytes that could be had without swapping, and where that figure is from.
    public var memoryAvailable: Int?
    public var memorySource: String?
    /// Bytes of this process that are its own, and of files it has mapped.
    public var privateResident: Int?
    public var mappedResident: Int?
    /// Seconds since the process started.
    public var uptime: Double?
    /// The node that shows previews and videos; nil when none is configured.
    public var videoDevice: VirtualCamera.Facts?

    public init() {}

    enum CodingKeys: String, CodingKey {
        case version, kernels, threads
        case memoryAvailable = "memory_available_bytes"
        case memorySource = "memory_source"
        case privateResident = "rss_anon_bytes"
        case mappedResident = "rss_file_bytes"
        case uptime = "uptime_seconds"
        case videoDevice = "video_device"
    }
}
