import ArgumentParser
import Client
import FoundationEssentials
import Glibc

/// Exit codes that scripts rely on (sysexits.h); listed in the tool's help.
enum Exit {
    static let videoFailed: Int32 = 1
    static let refused: Int32 = 65
    static let cannotRead: Int32 = 66
    static let unreachable: Int32 = 69
    static let cannotWrite: Int32 = 74
    static let tryLater: Int32 = 75
    static let interrupted: Int32 = 130
}

struct Connection: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The daemon's socket. Default: $FILOSCOPE_SOCKET, else /run/filoscope/filoscope.sock.", valueName: "path"))
    var socket: String?

    @Flag(help: "Print JSON, one object, instead of text.")
    var json = false

    var daemon: Daemon {
        let fromEnvironment = getenv("FILOSCOPE_SOCKET").map { String(cString: $0) }
        return Daemon(socket: socket ?? fromEnvironment ?? "/run/filoscope/filoscope.sock")
    }
}

func say(_ text: String) { _ = writeAll(Array((text + "\n").utf8), to: STDERR_FILENO) }

/// `false` with `errno` set when not all of it could be written.
func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, bytes.count - done) }
        if count > 0 { done += count } else if errno != EINTR { return false }
    }
    return true
}

func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// Runs `body`; a daemon's refusal becomes one line on standard error and an exit code.
func reporting<T>(_ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch let error as ClientError {
        say("filoscope: \(describe(error))")
        throw ExitCode(code(for: error))
    }
}

func code(for error: ClientError) -> Int32 {
    switch error {
    case .cannotConnect, .connectionLost, .truncated, .socketPathTooLong: Exit.unreachable
    case .malformed: Exit.unreachable
    case .refused(let status, _, _, _, _): [429, 503, 507].contains(status) ? Exit.tryLater : Exit.refused
    }
}

func describe(_ error: ClientError) -> String {
    switch error {
    case .socketPathTooLong(let path): "the socket's path is too long (at most 107 bytes): \(path)"
    case .cannotConnect(let path, let number):
        "no daemon answers at \(path): \(String(cString: strerror(number))). Is filoscoped running? "
            + "(systemctl status filoscoped.socket, or filoscoped --listen PATH)"
    case .connectionLost(let number): "the connection broke: \(String(cString: strerror(number)))"
    case .truncated: "the daemon closed the connection in the middle of its answer"
    case .malformed(let what): "the daemon's answer could not be understood: \(what)"
    case .refused(_, let code, let field, let message, let retryAfter):
        message + (field.map { " [\($0)]" } ?? "") + " (\(code))"
            + (retryAfter.map { "; try again in \($0) s" } ?? "")
    }
}

/// Writes beside the destination and renames, so that nobody sees half a file. `-` is standard output.
func write(_ bytes: [UInt8], to path: String) throws {
    if path == "-" {
        guard writeAll(bytes, to: STDOUT_FILENO) else {
            say("filoscope: standard output: \(String(cString: strerror(errno)))")
            throw ExitCode(Exit.cannotWrite)
        }
        return
    }
    let temporary = "\(path).part-\(getpid())"
    guard let file = fopen(temporary, "wbx") else { throw cannotWrite(temporary) }
    let written = fwrite(bytes, 1, bytes.count, file) == bytes.count
    guard fclose(file) == 0, written, rename(temporary, path) == 0 else {
        let failure = cannotWrite(path)
        unlink(temporary)
        throw failure
    }
}

/// A file to send, of at most 8 MiB, which is what the daemon takes; `-` is standard input.
func read(_ path: String) throws -> [UInt8] {
    func refuse(_ reason: String) -> ExitCode {
        say("filoscope: \(path): \(reason)")
        return ExitCode(Exit.cannotRead)
    }
    let limit = 8 << 20
    guard let file = fopen(path == "-" ? "/dev/stdin" : path, "rb") else {
        throw refuse(String(cString: strerror(errno)))
    }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: limit + 1)
    let count = fread(&bytes, 1, bytes.count, file)
    guard ferror(file) == 0 else { throw refuse(String(cString: strerror(errno))) }
    guard count <= limit else { throw refuse("it has more than \(limit) bytes") }
    return Array(bytes.prefix(count))
}

private func cannotWrite(_ path: String) -> ExitCode {
    say("filoscope: \(path): \(String(cString: strerror(errno)))")
    return ExitCode(Exit.cannotWrite)
}

/// `mp4`, `avi`, `y4m` or `jpg` from a file's name; `nil` when it says nothing.
func format(ofFile path: String) -> String? {
    guard let dot = path.lastIndex(of: "."), path[dot...].firstIndex(of: "/") == nil else { return nil }
    let ending = path[path.index(after: dot)...].lowercased()
    switch ending {
    case "mp4", "avi", "y4m": return ending
    case "jpg", "jpeg": return "jpg"
    default: return nil
    }
}
