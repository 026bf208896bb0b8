import FoundationEssentials
import Jobs
import NIOHTTP1

/// What a kiosk's page shows and does by itself.
public struct KioskSettings: Sendable, Equatable {
    public var title = "Filoscope"
    /// Shown in turn when nobody is there; none is to wait.
    public var prompts: [String] = []
    /// Seconds without a touch or a key after which nobody is there.
    public var idleSeconds = 60

    public init() {}
}

/// Who a listener is for.
public enum Audience: Sendable {
    /// Programs and people of this machine, known by their uid.
    case users
    /// Browsers, through a bridge from a loopback port: they are one uid together, and any page of the web can make a
    /// browser send requests. So they get the kiosk's page and what it needs, and nothing that destroys.
    case browsers(KioskSettings)
}

/// The rules in front of the router for ``Audience/browsers(_:)``.
///
/// A browser proves that the page which asks is ours: `Host` must be a loopback name (a name somebody else's DNS points here is
/// not), `Origin` and `Sec-Fetch-Site` must not speak of another one, and a `POST` must be JSON, which no form can send.
struct Kiosk: Sendable {
    let router: Router
    let settings: KioskSettings

    /// Fields of `POST /v1/videos` that a visitor may choose: none that costs more than the model's own default.
    static let fields: Set<String> = ["prompt", "model", "seed", "size"]

    init(router: Router, settings: KioskSettings) {
        var router = router
        // Whoever stands before it may not be who asks. Its fields are refused besides.
        router.camera = nil
        self.router = router
        self.settings = settings
    }

    func respond(to request: Request) async -> Response {
        var request = request
        // Whoever runs the bridge, the people behind it are not administrators.
        request.peer.isAdministrator = false
        var response: Response
        do {
            try Self.checkOrigin(request)
            response = try await route(request)
        } catch {
            response = Problem(error).response
        }
        response.headers.add(name: "X-Content-Type-Options", value: "nosniff")
        response.headers.add(name: "Cross-Origin-Resource-Policy", value: "same-origin")
        response.headers.add(name: "Referrer-Policy", value: "no-referrer")
        return response
    }

    private func route(_ request: Request) async throws -> Response {
        if let file = KioskFile(path: request.path) {
            try request.allow(.GET)
            return file.response
        }
        switch request.path {
        case ["kiosk.json"]:
            try request.allow(.GET)
            return try router.json(
                Settings(title: settings.title, prompts: settings.prompts, idle_seconds: settings.idleSeconds))
        case ["healthz"], ["readyz"], ["preview.mjpeg"], ["v1", "models"], ["v1", "capabilities"]:
            try request.allow(.GET)
        case ["v1", "videos"]:
            try request.allow(.GET, .POST)
            if request.method == .POST { try checkFields(request) }
        default:
            let path = request.path
            guard path.starts(with: ["v1", "videos"]), path.count == 3 || path.count == 4 && path[3] != "cancel" else {
                throw ServiceError.forbidden("the kiosk's socket does not serve this address")
            }
            guard request.method == .GET || request.method == .HEAD else {
                throw ServiceError.forbidden("the kiosk's socket makes and shows videos, it changes none")
            }
        }
        return await router.respond(to: request)
    }

    private func checkFields(_ request: Request) throws {
        guard request.headers.first(name: "Content-Type").map({ HeaderValue($0).value }) == "application/json" else {
            throw ServiceError.unsupportedMediaType(accepted: "application/json")
        }
        // What is no object of fields is refused by who parses it.
        let members = (try? JSONDecoder().decode([String: JSONValue].self, from: Data(request.body))) ?? [:]
        if let other = members.keys.sorted().first(where: { !Self.fields.contains($0) }) {
            throw ServiceError.forbidden(
                "the kiosk's socket does not take the field '\(other.prefix(60))'; it takes "
                    + Self.fields.sorted().joined(separator: ", "))
        }
    }

    static func checkOrigin(_ request: Request) throws(ServiceError) {
        let hosts = request.headers["Host"]
        guard hosts.count == 1, isLoopback(hosts[0]) else {
            throw .forbidden("the Host of a request to the kiosk must be localhost, 127.0.0.1 or [::1]")
        }
        for origin in request.headers["Origin"] where origin.lowercased() != "http://\(hosts[0].lowercased())" {
            throw .forbidden("the request comes from another page than the kiosk's own")
        }
        for site in request.headers["Sec-Fetch-Site"] where site != "same-origin" && site != "none" {
            // A link to the page may stand anywhere; it is opened by somebody, and not inside of another page.
            let isOpened =
                request.path.isEmpty && request.method == .GET
                && request.headers.first(name: "Sec-Fetch-Mode") == "navigate"
                && request.headers.first(name: "Sec-Fetch-Dest") == "document"
            guard isOpened else { throw .forbidden("the request comes from another page than the kiosk's own") }
        }
    }

    /// A loopback name with or without a port.
    static func isLoopback(_ host: String) -> Bool {
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            guard host.lowercased().hasPrefix(name) else { continue }
            let rest = host.dropFirst(name.count)
            if rest.isEmpty { return true }
            let port = rest.dropFirst()
            return rest.first == ":" && (1...5).contains(port.utf8.count)
                && port.utf8.allSatisfy { (0x30...0x39).contains($0) }
        }
        return false
    }

    private struct Settings: Encodable {
        var title: String
        var prompts: [String]
        var idle_seconds: Int
    }
}

/// The files of the page; nothing in them comes from elsewhere.
enum KioskFile: CaseIterable {
    case page, style, script

    init?(path: [String]) {
        guard let file = Self.allCases.first(where: { $0.path == path }) else { return nil }
        self = file
    }

    private var path: [String] {
        switch self {
        case .page: []
        case .style: ["kiosk.css"]
        case .script: ["kiosk.js"]
        }
    }

    /// `data:` is for the previews that events bring.
    private static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        + "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

    var response: Response {
        let (type, bytes) =
            switch self {
            case .page: ("text/html; charset=utf-8", PackageResources.kiosk_html)
            case .style: ("text/css; charset=utf-8", PackageResources.kiosk_css)
            case .script: ("text/javascript; charset=utf-8", PackageResources.kiosk_js)
            }
        return Response(
            .ok, type: type, headers: ["Cache-Control": "no-cache", "Content-Security-Policy": Self.policy], bytes)
    }
}
