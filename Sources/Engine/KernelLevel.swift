internal import CKernels

/// An instruction-set level that this CPU can run. A value exists only for a supported level.
public struct KernelLevel: Sendable, Hashable, CustomStringConvertible {
    /// "reference", "avx2", "avx512vnni", "neon", "dotprod", "vnni256", "avxvnni", "i8mm".
    public let name: String
    let value: ck_level

    private init?(_ value: ck_level) {
        // A table that says it is another level would be a silent fallback.
        guard ck_level_supported(value) == 1, let table = ck_kernels_at(value), table.pointee.level == value,
            let name = ck_level_name(value)
        else { return nil }
        self.value = value
        self.name = String(cString: name)
    }

    /// The environment variable that forces a level.
    public static let environmentVariable = "FILOSCOPE_KERNELS"

    /// Every level that this CPU runs, plain C first.
    public static var supported: [KernelLevel] {
        (0..<Int(CK_LEVEL_COUNT.rawValue)).compactMap { KernelLevel(ck_level(rawValue: ck_level.RawValue($0))) }
    }

    /// Plain C, on every CPU.
    public static var reference: KernelLevel { supported[0] }

    /// The fastest level of this CPU.
    public static var best: KernelLevel { KernelLevel(ck_level_best()) ?? reference }

    /// The level with this name.
    ///
    /// - Throws: `unknown` for a name that no build has, `unsupported` for one that this CPU can't run; never another level.
    public init(named name: String) throws(KernelLevelError) {
        let known = (0..<Int(CK_LEVEL_COUNT.rawValue)).compactMap { index in
            ck_level_name(ck_level(rawValue: ck_level.RawValue(index))).map { String(cString: $0) }
        }
        guard let index = known.firstIndex(of: name) else {
            throw .unknown(name, supported: Self.supported.map(\.name))
        }
        guard let level = KernelLevel(ck_level(rawValue: ck_level.RawValue(index))) else {
            throw .unsupported(name, supported: Self.supported.map(\.name))
        }
        self = level
    }

    /// What `FILOSCOPE_KERNELS` asks for (its value is passed in), or the best level when it is unset or empty.
    public static func selected(_ forced: String?) throws(KernelLevelError) -> KernelLevel {
        guard let forced, !forced.isEmpty else { return best }
        return try KernelLevel(named: forced)
    }

    public var description: String { name }

    public static func == (a: KernelLevel, b: KernelLevel) -> Bool { a.value == b.value }
    public func hash(into hasher: inout Hasher) { hasher.combine(value.rawValue) }
}

/// Why a forced kernel level can't be had.
public enum KernelLevelError: Error, Equatable, CustomStringConvertible {
    case unknown(String, supported: [String])
    case unsupported(String, supported: [String])

    public var description: String {
        switch self {
        case .unknown(let name, let supported):
            "FILOSCOPE_KERNELS: there is no kernel level '\(name)'; this CPU has \(supported.joined(separator: ", "))"
        case .unsupported(let name, let supported):
            "FILOSCOPE_KERNELS: this CPU can't run '\(name)'; it has \(supported.joined(separator: ", "))"
        }
    }
}
