internal import CKernels

extension Compute {
    /// Layer norm of each row, then modulation:
    /// `y[r] = ((x[r] - mean) / sqrt(var + eps) * gamma + beta) * (1 + scale(r)) + shift(r)`.
    ///
    /// x and y are [rows, width] and may be the same; gamma, beta are [width] or nil; `scale` and `shift` give [width] per row.
    public func layerNorm(
        _ x: UnsafePointer<Float>, rows: Int, width: Int, eps: Float, gamma: UnsafePointer<Float>? = nil,
        beta: UnsafePointer<Float>? = nil, scale: RowVectors? = nil, shift: RowVectors? = nil,
        into y: UnsafeMutablePointer<Float>
    ) {
        let (kernel, n) = (kernels.layer_norm.unsafelyUnwrapped, Int32(width))
        parallel(count: rows, cost: width * 2) { range in
            for row in range {
                kernel(x + row * width, n, eps, gamma, beta, scale?(row), shift?(row), y + row * width)
            }
        }
    }

    /// RMS norm of the first `width` floats of each row: `y[r] = x[r] / sqrt(mean(x[r]²) + eps) * gamma`.
    ///
    /// x is [rows, strideX], y is [rows, strideY] and may be x; gamma is [width]; a stride of nil is `width`.
    public func rmsNorm(
        _ x: UnsafePointer<Float>, rows: Int, width: Int, strideX: Int? = nil, eps: Float,
        gamma: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, strideY: Int? = nil
    ) {
        let (kernel, n) = (kernels.rms_norm.unsafelyUnwrapped, Int32(width))
        let (strideX, strideY) = (strideX ?? width, strideY ?? width)
        parallel(count: rows, cost: width * 2) { range in
            for row in range { kernel(x + row * strideX, n, eps, gamma, y + row * strideY) }
        }
    }

    /// Rotates interleaved pairs (x[2i], x[2i + 1]) of every head, in place.
    ///
    /// x is [rows, stride], heads * headDim used; cos and sin are [rows, headDim / 2], the same for every head.
    public func rotary(
        _ x: UnsafeMutablePointer<Float>, rows: Int, stride: Int? = nil, heads: Int, headDim: Int,
        cos: UnsafePointer<Float>, sin: UnsafePointer<Float>
    ) {
        precondition(headDim % 2 == 0, "rotary positions need an even head dimension")
        let (kernel, half, stride) = (kernels.rotary.unsafelyUnwrapped, headDim / 2, stride ?? heads * headDim)
        parallel(count: rows, cost: heads * headDim) { range in
            for row in range {
                kernel(x + row * stride, Int32(heads), Int32(headDim), cos + row * half, sin + row * half)
            }
        }
    }

    /// `y[r] += x[r] * (gate(r) or 1)`; x and y are [rows, width], gate gives [width] per row.
    public func addGated(
        _ x: UnsafePointer<Float>, gate: RowVectors? = nil, rows: Int, width: Int, to y: UnsafeMutablePointer<Float>
    ) {
        let (kernel, n) = (kernels.add_gated.unsafelyUnwrapped, Int32(width))
        parallel(count: rows, cost: width) { range in
            for row in range { kernel(y + row * width, x + row * width, gate?(row), n) }
        }
    }

    /// `y = activation(x)`, `count` floats; y may be x.
    public func activate(
        _ x: UnsafePointer<Float>, count: Int, _ activation: Activation, into y: UnsafeMutablePointer<Float>
    ) {
        let kernel = kernels.activate.unsafelyUnwrapped
        spans(count) { start, n in kernel(x + start, y + start, n, activation.kernel) }
    }

    /// `y = tanh(x / 3) * 3`, `count` floats; y may be x. The autoencoder's clamp (taehv.py: `Clamp`).
    public func softClamp(_ x: UnsafePointer<Float>, count: Int, into y: UnsafeMutablePointer<Float>) {
        let kernel = kernels.soft_clamp.unsafelyUnwrapped
        spans(count) { start, n in kernel(x + start, y + start, n) }
    }

    /// `y = a * x + b * y`, `count` floats.
    public func axpby(
        _ a: Float, _ x: UnsafePointer<Float>, _ b: Float, _ y: UnsafeMutablePointer<Float>, count: Int
    ) {
        let kernel = kernels.axpby.unsafelyUnwrapped
        spans(count) { start, n in kernel(a, x + start, b, y + start, n) }
    }

    /// Cuts `count` floats into pieces of 4096, a whole number of virtual lanes, whose size fits the kernels' int32.
    func spans(_ count: Int, _ body: (_ start: Int, _ n: Int32) -> Void) {
        let piece = 4096
        parallel(count: (count + piece - 1) / piece, cost: piece) { range in
            for index in range { body(index * piece, Int32(min(piece, count - index * piece))) }
        }
    }
}
