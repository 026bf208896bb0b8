internal import CKernels

/// How numbers lie in bytes: number = (byte - zero) * scale. `zero` is 0 after a ReLU, so that all 8 bits are of use.
public struct Quantization: Sendable, Hashable {
    /// Finite, above 0.
    public let scale: Float
    public let zero: UInt8

    public init(scale: Float, zero: UInt8) {
        precondition(scale > 0 && scale.isFinite, "a scale of \(scale)")
        self.scale = scale
        self.zero = zero
    }

    var kernel: ck_quantization { ck_quantization(scale: scale, zero: Int32(zero)) }
}

/// What lies between two convolutions, channels last: floats, or bytes with what they stand for.
public enum FeatureMap {
    case floats(UnsafeMutablePointer<Float>)
    case bytes(UnsafeMutablePointer<UInt8>, Quantization)

    /// Memory that holds `byteCount(elements:_:)` bytes, read as one or the other.
    public init(_ memory: UnsafeMutableRawPointer, _ quantization: Quantization?) {
        if let quantization {
            self = .bytes(memory.assumingMemoryBound(to: UInt8.self), quantization)
        } else {
            self = .floats(memory.assumingMemoryBound(to: Float.self))
        }
    }

    public static func byteCount(elements: Int, _ quantization: Quantization?) -> Int {
        quantization == nil ? elements * MemoryLayout<Float>.stride : elements
    }

    public var quantization: Quantization? {
        switch self {
        case .floats: nil
        case .bytes(_, let quantization): quantization
        }
    }

    /// Makes `count` elements stand for 0.
    public func clear(_ count: Int) {
        switch self {
        case .floats(let floats): floats.update(repeating: 0, count: count)
        case .bytes(let bytes, let quantization): bytes.update(repeating: quantization.zero, count: count)
        }
    }
}

extension Compute {
    /// `count` floats as bytes: rounded, a tie to the even byte, and clamped to what bytes hold.
    public func quantize(
        _ x: UnsafePointer<Float>, count: Int, _ quantization: Quantization, into q: UnsafeMutablePointer<UInt8>
    ) {
        let (kernel, to) = (kernels.quantize_u8.unsafelyUnwrapped, quantization.kernel)
        spans(count) { start, n in kernel(x + start, n, to, q + start) }
    }

    /// `count` bytes as the floats they stand for.
    public func dequantize(
        _ q: UnsafePointer<UInt8>, count: Int, _ quantization: Quantization, into x: UnsafeMutablePointer<Float>
    ) {
        let (kernel, from) = (kernels.dequantize_u8.unsafelyUnwrapped, quantization.kernel)
        spans(count) { start, n in kernel(q + start, n, from, x + start) }
    }
}
