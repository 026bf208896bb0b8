internal import CKernels

/// What this CPU can do at most, for benchmarks to compare with: runs loops, the caller takes the time.
public enum Limits {
    /// Independent int8 products and sums in registers, as the level does them; returns how many operations that were
    /// (a product and a sum are two).
    public static func int8(_ level: KernelLevel, rounds: Int) -> Int { Int(ck_limit_i8(level.value, Int64(rounds))) }

    /// The same of float32, multiplications and additions apart: nothing here is fused.
    public static func float32(_ level: KernelLevel, rounds: Int) -> Int {
        Int(ck_limit_f32(level.value, Int64(rounds)))
    }

    /// Reads `bytes`, as far as they are whole 128 bytes.
    public static func read(_ bytes: UnsafeRawBufferPointer, passes: Int) {
        guard let base = bytes.baseAddress else { return }
        ck_limit_read(base, bytes.count / 128 * 128, Int32(passes))
    }
}
