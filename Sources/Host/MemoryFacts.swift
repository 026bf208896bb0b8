import Glibc

/// What `/proc` says about memory; `nil` where the kernel doesn't tell.
public struct MemoryFacts: Sendable, Equatable {
    /// Bytes that could be had without swapping (`MemAvailable`).
    public var available: Int?
    public var total: Int?
    /// Private bytes of this process (`RssAnon`).
    public var privateResident: Int?
    /// Bytes of mapped files in memory (`RssFile`), the model above all.
    public var mappedResident: Int?

    public static func now() -> MemoryFacts {
        parse(meminfo: read("/proc/meminfo"), status: read("/proc/self/status"))
    }

    static func parse(meminfo: String, status: String) -> MemoryFacts {
        MemoryFacts(
            available: kilobytes("MemAvailable", in: meminfo), total: kilobytes("MemTotal", in: meminfo),
            privateResident: kilobytes("RssAnon", in: status), mappedResident: kilobytes("RssFile", in: status))
    }

    private static func kilobytes(_ key: String, in text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("\(key):") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count >= 2, let value = Int(words[1]), value <= Int.max / 1024 else { return nil }
            return value * 1024
        }
        return nil
    }

    private static func read(_ path: String) -> String {
        let fd = open(path, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return "" }
        defer { close(fd) }
        var buffer = [UInt8](repeating: 0, count: 16_384)
        var filled = 0
        while filled < buffer.count {
            let count = buffer.withUnsafeMutableBytes {
                Glibc.read(fd, $0.baseAddress.map { $0 + filled }, $0.count - filled)
            }
            guard count > 0 else { break }
            filled += count
        }
        return String(decoding: buffer[..<filled], as: UTF8.self)
    }
}
