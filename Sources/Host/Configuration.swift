import FoundationEssentials

/// What the daemon is told from outside: command line before environment before one JSON5 file before defaults.
public struct Configuration: Sendable, Equatable {
    /// Path of a socket to bind; `nil` takes the one systemd hands over.
    public var listen: String?
    public var state = "/var/lib/filoscope"
    public var models = "/usr/share/filoscope/models"
    /// Computing threads; `nil` is one for each processor this process may use.
    public var threads: Int?
    /// The CPUs they run on, ascending; `nil` leaves the choice to the daemon.
    public var cpus: [Int]?
    /// A video output node that shows what is made, as `/dev/video9`; `nil` is none.
    public var videoDevice: String?
    /// It shows the last video again and again between jobs, instead of its last picture.
    public var videoDeviceLoops = false
    /// The camera that requests may have a picture taken by, as `/dev/video0`; `nil` is none.
    public var cameraDevice: String?
    public var limits = Limits()
    public var kiosk = Kiosk()

    /// For browsers; there is a kiosk when it has a socket.
    public struct Kiosk: Sendable, Equatable {
        /// Path of a socket to bind; `nil` takes the one systemd hands over under the name `kiosk`, if it does.
        public var listen: String?
        public var title: String?
        /// Shown when nobody is there.
        public var prompts: [String] = []
        /// Seconds without input after which nobody is there.
        public var idleSeconds: Int?

        public init() {}
    }

    public struct Limits: Sendable, Equatable {
        /// Jobs waiting, and of one uid.
        public var queueLength: Int?
        public var queuedPerUser: Int?
        /// Bytes of finished videos.
        public var storeBytes: Int64?
        /// Seconds a finished video is kept.
        public var retentionSeconds: Int64?
        /// Connections at once, and of one uid.
        public var connections: Int?
        public var connectionsPerUser: Int?

        public init() {}
    }

    public init() {}
}

/// What is wrong with the configuration; names where it was said.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}

extension Configuration {
    /// Settings as texts or `nil`, from one source.
    public struct Flags: Sendable, Equatable {
        public var config: String?
        public var listen: String?
        public var kiosk: String?
        public var state: String?
        public var models: String?
        public var threads: Int?
        public var cpus: String?
        public var videoDevice: String?
        public var videoDeviceLoop: Bool?
        public var cameraDevice: String?

        public init() {}
    }

    static let threadLimit = 1...1024

    /// - Parameter read: gives the bytes of a file; throws what is to be told about it.
    public static func load(
        flags: Flags, environment: [String: String], read: (String) throws -> [UInt8]
    ) throws(ConfigurationError) -> Configuration {
        var configuration = Configuration()
        // systemd names the folder it made for `StateDirectory=`.
        if let folder = environment["STATE_DIRECTORY"]?.split(separator: ":").first {
            configuration.state = String(folder)
        }
        if let path = flags.config ?? set(environment["FILOSCOPE_CONFIG"]) {
            let bytes: [UInt8]
            do {
                bytes = try read(path)
            } catch {
                throw ConfigurationError("\(path): \(error)")
            }
            try configuration.apply(file: bytes, path: path)
        }
        configuration.listen = flags.listen ?? set(environment["FILOSCOPE_LISTEN"]) ?? configuration.listen
        configuration.kiosk.listen = flags.kiosk ?? set(environment["FILOSCOPE_KIOSK"]) ?? configuration.kiosk.listen
        configuration.state = flags.state ?? set(environment["FILOSCOPE_STATE"]) ?? configuration.state
        configuration.models = flags.models ?? set(environment["FILOSCOPE_MODELS"]) ?? configuration.models
        if let text = set(environment["FILOSCOPE_THREADS"]) {
            guard let threads = Int(text) else {
                throw ConfigurationError("FILOSCOPE_THREADS: '\(text)' is not a number")
            }
            configuration.threads = try checked(threads, "FILOSCOPE_THREADS", threadLimit)
        }
        if let threads = flags.threads {
            configuration.threads = try checked(threads, "--threads", threadLimit)
        }
        if let text = set(environment["FILOSCOPE_CPUS"]) { configuration.cpus = try list(text, "FILOSCOPE_CPUS") }
        if let text = flags.cpus { configuration.cpus = try list(text, "--cpus") }
        configuration.videoDevice =
            flags.videoDevice ?? set(environment["FILOSCOPE_VIDEO_DEVICE"]) ?? configuration.videoDevice
        if let text = set(environment["FILOSCOPE_VIDEO_DEVICE_LOOP"]) {
            guard let loops = Bool(text) else {
                throw ConfigurationError("FILOSCOPE_VIDEO_DEVICE_LOOP: '\(text)' is not true or false")
            }
            configuration.videoDeviceLoops = loops
        }
        configuration.videoDeviceLoops = flags.videoDeviceLoop ?? configuration.videoDeviceLoops
        configuration.cameraDevice =
            flags.cameraDevice ?? set(environment["FILOSCOPE_CAMERA_DEVICE"]) ?? configuration.cameraDevice
        let devices = [("video_device", configuration.videoDevice), ("camera_device", configuration.cameraDevice)]
        for case (let name, let path?) in devices where !path.hasPrefix("/") {
            throw ConfigurationError("\(name): '\(path)' is not a whole path such as /dev/video9")
        }
        for (name, path) in [("state", configuration.state), ("models", configuration.models)] where path.isEmpty {
            throw ConfigurationError("\(name): the path is empty")
        }
        return configuration
    }

    private static func set(_ text: String?) -> String? { text?.isEmpty == false ? text : nil }

    private static func checked<T: Comparable>(
        _ value: T, _ name: String, _ range: ClosedRange<T>
    ) throws(ConfigurationError) -> T {
        guard range.contains(value) else {
            throw ConfigurationError("\(name): \(value) is not in \(range.lowerBound)...\(range.upperBound)")
        }
        return value
    }

    /// `0-3,6` as `[0, 1, 2, 3, 6]`.
    private static func list(_ text: String, _ name: String) throws(ConfigurationError) -> [Int] {
        var cpus: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { Int($0) }
            guard let first = ends[0], let last = ends.count == 2 ? ends[1] : first, 0 <= first, first <= last,
                last < 1024
            else { throw ConfigurationError("\(name): '\(text)' is not a list of CPUs such as 4-7 or 0,2 (0...1023)") }
            cpus.formUnion(first...last)
        }
        return cpus.sorted()
    }

    private mutating func apply(file bytes: [UInt8], path: String) throws(ConfigurationError) {
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        let file: File
        do {
            file = try decoder.decode(File.self, from: Data(bytes))
        } catch let error as ConfigurationError {
            throw ConfigurationError("\(path): \(error.description)")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            let key = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw ConfigurationError("\(path): \(key.isEmpty ? "the file" : key) has the wrong type")
        } catch {
            // The decoder names no key for a number that doesn't fit.
            throw ConfigurationError("\(path): not JSON5, or a number that is not a whole one in range")
        }
        listen = file.listen ?? listen
        state = file.state ?? state
        models = file.models ?? models
        videoDevice = file.videoDevice ?? videoDevice
        videoDeviceLoops = file.videoDeviceLoop ?? videoDeviceLoops
        cameraDevice = file.cameraDevice ?? cameraDevice
        do {
            if let value = file.threads { threads = try Self.checked(value, "threads", Self.threadLimit) }
            if let text = file.cpus { cpus = try Self.list(text, "cpus") }
            if let limits = file.limits { self.limits = try limits.checked() }
            if let kiosk = file.kiosk { self.kiosk = try kiosk.checked() }
        } catch {
            throw ConfigurationError("\(path): \(error.description)")
        }
    }

    private struct File: Decodable {
        var listen: String?
        var state: String?
        var models: String?
        var threads: Int?
        var cpus: String?
        var videoDevice: String?
        var videoDeviceLoop: Bool?
        var cameraDevice: String?
        var limits: FileLimits?
        var kiosk: FileKiosk?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case listen, state, models, threads, cpus, limits, kiosk
            case videoDevice = "video_device"
            case videoDeviceLoop = "video_device_loop"
            case cameraDevice = "camera_device"
        }

        init(from decoder: any Decoder) throws {
            try refuseUnknown(decoder, CodingKeys.allCases.map(\.rawValue))
            let container = try decoder.container(keyedBy: CodingKeys.self)
            listen = try container.decodeIfPresent(String.self, forKey: .listen)
            state = try container.decodeIfPresent(String.self, forKey: .state)
            models = try container.decodeIfPresent(String.self, forKey: .models)
            threads = try container.decodeIfPresent(Int.self, forKey: .threads)
            cpus = try container.decodeIfPresent(String.self, forKey: .cpus)
            videoDevice = try container.decodeIfPresent(String.self, forKey: .videoDevice)
            videoDeviceLoop = try container.decodeIfPresent(Bool.self, forKey: .videoDeviceLoop)
            cameraDevice = try container.decodeIfPresent(String.self, forKey: .cameraDevice)
            limits = try container.decodeIfPresent(FileLimits.self, forKey: .limits)
            kiosk = try container.decodeIfPresent(FileKiosk.self, forKey: .kiosk)
        }
    }

    private struct FileKiosk: Decodable {
        var listen: String?
        var title: String?
        var prompts: [String]?
        var idleSeconds: Int?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case listen, title, prompts
            case idleSeconds = "idle_seconds"
        }

        init(from decoder: any Decoder) throws {
            try refuseUnknown(decoder, CodingKeys.allCases.map(\.rawValue))
            let container = try decoder.container(keyedBy: CodingKeys.self)
            listen = try container.decodeIfPresent(String.self, forKey: .listen)
            title = try container.decodeIfPresent(String.self, forKey: .title)
            prompts = try container.decodeIfPresent([String].self, forKey: .prompts)
            idleSeconds = try container.decodeIfPresent(Int.self, forKey: .idleSeconds)
        }

        func checked() throws(ConfigurationError) -> Kiosk {
            var kiosk = Kiosk()
            kiosk.listen = listen
            kiosk.title = title
            kiosk.prompts = prompts ?? []
            guard kiosk.prompts.count <= 100 else { throw ConfigurationError("kiosk.prompts: more than 100") }
            for (index, prompt) in kiosk.prompts.enumerated() where !(1...500).contains(prompt.utf8.count) {
                throw ConfigurationError("kiosk.prompts[\(index)]: a prompt here has 1 to 500 bytes")
            }
            if let idleSeconds {
                kiosk.idleSeconds = try Configuration.checked(idleSeconds, "kiosk.idle_seconds", 5...86_400)
            }
            return kiosk
        }
    }

    private struct FileLimits: Decodable {
        var queueLength: Int?
        var queuedPerUser: Int?
        var storeBytes: Int64?
        var retentionSeconds: Int64?
        var connections: Int?
        var connectionsPerUser: Int?

        enum CodingKeys: String, CodingKey, CaseIterable {
            case queueLength = "queue_length"
            case queuedPerUser = "queued_per_user"
            case storeBytes = "store_bytes"
            case retentionSeconds = "retention_seconds"
            case connections
            case connectionsPerUser = "connections_per_user"
        }

        init(from decoder: any Decoder) throws {
            try refuseUnknown(decoder, CodingKeys.allCases.map(\.rawValue))
            let container = try decoder.container(keyedBy: CodingKeys.self)
            queueLength = try container.decodeIfPresent(Int.self, forKey: .queueLength)
            queuedPerUser = try container.decodeIfPresent(Int.self, forKey: .queuedPerUser)
            storeBytes = try container.decodeIfPresent(Int64.self, forKey: .storeBytes)
            retentionSeconds = try container.decodeIfPresent(Int64.self, forKey: .retentionSeconds)
            connections = try container.decodeIfPresent(Int.self, forKey: .connections)
            connectionsPerUser = try container.decodeIfPresent(Int.self, forKey: .connectionsPerUser)
        }

        func checked() throws(ConfigurationError) -> Limits {
            var limits = Limits()
            limits.queueLength = try check(queueLength, "limits.queue_length", 1...10_000)
            limits.queuedPerUser = try check(queuedPerUser, "limits.queued_per_user", 1...10_000)
            limits.storeBytes = try check(storeBytes, "limits.store_bytes", (1 << 20)...(1 << 50))
            limits.retentionSeconds = try check(retentionSeconds, "limits.retention_seconds", 60...(1 << 40))
            limits.connections = try check(connections, "limits.connections", 1...4096)
            limits.connectionsPerUser = try check(connectionsPerUser, "limits.connections_per_user", 1...4096)
            return limits
        }

        private func check<T: Comparable>(
            _ value: T?, _ name: String, _ range: ClosedRange<T>
        ) throws(ConfigurationError) -> T? {
            guard let value else { return nil }
            return try Configuration.checked(value, name, range)
        }
    }
}

private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

private func refuseUnknown(_ decoder: any Decoder, _ known: [String]) throws {
    let keys = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted()
    if let unknown = keys.first(where: { !known.contains($0) }) {
        let place = (decoder.codingPath.map(\.stringValue) + [unknown]).joined(separator: ".")
        throw ConfigurationError("there is no setting '\(place)'; known here: \(known.joined(separator: ", "))")
    }
}
