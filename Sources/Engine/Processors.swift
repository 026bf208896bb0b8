internal import CLinux
import Glibc

/// The CPUs that computing may use, and which of them are the big ones.
public enum Processors {
    /// The CPUs this process may run on, ascending.
    public static var available: [Int] {
        var cpus = [Int32](repeating: 0, count: 1024)
        let count = cl_affinity(&cpus, Int32(cpus.count))
        return cpus.prefix(max(Int(count), 0)).map(Int.init)
    }

    /// How fast each CPU is against the fastest, 1...1024, as the kernel was told by the board (`cpu_capacity`). Where
    /// it was told nothing, as on x86-64, all are equal.
    static func capacity(of cpu: Int, root: String = "/sys/devices/system/cpu") -> Int {
        guard let file = fopen("\(root)/cpu\(cpu)/cpu_capacity", "re") else { return 1024 }
        defer { fclose(file) }
        var digits = [CChar](repeating: 0, count: 16)
        guard fgets(&digits, Int32(digits.count), file) != nil else { return 1024 }
        let value = strtol(digits, nil, 10)
        return (1...1024).contains(value) ? value : 1024
    }

    /// The `count` fastest of `cpus`, ascending; of equally fast ones those with the lower numbers.
    public static func fastest(
        _ count: Int, of cpus: [Int], root: String = "/sys/devices/system/cpu"
    ) -> [Int] {
        let ranked = cpus.map { (cpu: $0, capacity: capacity(of: $0, root: root)) }
            .sorted { ($1.capacity, $0.cpu) < ($0.capacity, $1.cpu) }
        return ranked.prefix(count).map(\.cpu).sorted()
    }

    /// The speed of the slowest of `cpus`, where 1 is their mean: exactly 1 if all are equally fast.
    static func slowest(of cpus: [Int], root: String = "/sys/devices/system/cpu") -> Double {
        let capacities = cpus.map { capacity(of: $0, root: root) }
        guard let least = capacities.min() else { return 1 }
        return Double(least * capacities.count) / Double(capacities.reduce(0, +))
    }

    /// Where `threads` computing threads belong: on the `wanted` CPUs; else, on a board whose CPUs differ, on its
    /// fastest; else anywhere (nil).
    public static func placement(
        threads: Int, wanted: [Int]?, available: [Int], root: String = "/sys/devices/system/cpu"
    ) -> [Int]? {
        if let wanted { return wanted }
        guard threads < available.count, slowest(of: available, root: root) < 1 else { return nil }
        return fastest(threads, of: available, root: root)
    }

    /// Keeps the calling thread on these CPUs; false when the system refuses, as for a CPU that is not there.
    @discardableResult static func keepCaller(on cpus: [Int]) -> Bool {
        let numbers = cpus.map(Int32.init)
        return cl_set_affinity(numbers, Int32(numbers.count)) == 0
    }
}
