/// The element type of a tensor. The engine computes with the first three.
public enum ElementType: Sendable, Hashable, CustomStringConvertible {
    case f32
    case i8
    case i32
    /// Any other safetensors dtype, by its name: listed, never interpreted.
    case opaque(String)

    init(_ dtype: String) {
        switch dtype {
        case "F32": self = .f32
        case "I8": self = .i8
        case "I32": self = .i32
        default: self = .opaque(dtype)
        }
    }

    public var description: String {
        switch self {
        case .f32: "F32"
        case .i8: "I8"
        case .i32: "I32"
        case .opaque(let name): name
        }
    }

    /// Bytes of an element; nil for a dtype that safetensors has not defined.
    var byteCount: Int? {
        switch self {
        case .f32, .i32: 4
        case .i8: 1
        case .opaque("F64"), .opaque("I64"), .opaque("U64"): 8
        case .opaque("U32"): 4
        case .opaque("F16"), .opaque("BF16"), .opaque("I16"), .opaque("U16"): 2
        case .opaque("U8"), .opaque("BOOL"), .opaque("F8_E4M3"), .opaque("F8_E5M2"): 1
        case .opaque: nil
        }
    }
}

/// A view of one tensor inside a mapped checkpoint; valid while the `Checkpoint` lives.
///
/// Unchecked: the pointer leads into a read-only map.
public struct Tensor: @unchecked Sendable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    /// 64-byte aligned.
    public let base: UnsafeRawPointer
    public let byteCount: Int
    /// How many bytes of the file follow this tensor: int8 kernels read up to 64 past its end.
    public let readableBytesAfter: Int

    /// The elements of an F32 tensor.
    public var floats: UnsafePointer<Float> {
        precondition(type == .f32, "tensor \(name) is \(type)")
        return base.assumingMemoryBound(to: Float.self)
    }

    /// The elements of an I8 tensor.
    public var int8s: UnsafePointer<Int8> {
        precondition(type == .i8, "tensor \(name) is \(type)")
        return base.assumingMemoryBound(to: Int8.self)
    }

    /// The elements of an I32 tensor.
    public var int32s: UnsafePointer<Int32> {
        precondition(type == .i32, "tensor \(name) is \(type)")
        return base.assumingMemoryBound(to: Int32.self)
    }
}
