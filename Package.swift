// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]
let strictC: [CSetting] = [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]
// Kernels are measured and tested as they ship, in debug builds too.
let kernelFlags: [CSetting] = [.unsafeFlags(["-O3", "-Wall", "-Wextra", "-Werror"])]

let package = Package(
    name: "filoscope",
    products: [
        .executable(name: "filoscoped", targets: ["filoscoped"]),
        .executable(name: "filoscope", targets: ["filoscope"]),
        .executable(name: "filoscope-bench", targets: ["filoscope-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    ],
    targets: [
        // Numbers: what the product exists for.
        .target(name: "CKernels", cSettings: kernelFlags),
        .target(name: "CLinux", cSettings: strictC),
        .target(name: "Threads", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "Engine", dependencies: ["CKernels", "CLinux", "Threads"], swiftSettings: strict),
        .target(name: "Models", dependencies: ["Engine", "Video"], swiftSettings: strict),
        .target(
            name: "Generation", dependencies: ["Models", "Engine", "Jobs", "Video", "Threads"], swiftSettings: strict),

        // Pictures.
        .target(name: "Video", swiftSettings: strict),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(name: "COpenH264", pkgConfig: "openh264", providers: [.apt(["libopenh264-dev"])]),
        .target(name: "Media", dependencies: ["Video", "CTurboJPEG", "CPNG", "COpenH264"], swiftSettings: strict),
        // Its other half, libv4lconvert, comes with the same packages; the module map links both.
        .systemLibrary(name: "CVideo4Linux", pkgConfig: "libv4l2", providers: [.apt(["libv4l-dev"])]),
        .target(name: "Camera", dependencies: ["Video", "Media", "Threads", "CVideo4Linux"], swiftSettings: strict),

        // The daemon around them.
        .target(name: "Jobs", dependencies: ["Video", "Threads"], swiftSettings: strict),
        .target(
            name: "Service",
            dependencies: [
                "Jobs", "Media", "Camera", "Video", "Threads", "CLinux",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            resources: ["kiosk.html", "kiosk.css", "kiosk.js"].map { .embedInCode("Kiosk/\($0)") },
            swiftSettings: strict),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(
            name: "Host", dependencies: ["CSystemd", "Threads"],
            swiftSettings: strict),
        .target(name: "Client", swiftSettings: strict),

        .executableTarget(
            name: "filoscoped",
            dependencies: [
                "Service", "Jobs", "Generation", "Host", "Media", "Camera", "Video", "Threads",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: strict),
        .executableTarget(
            name: "filoscope",
            dependencies: [
                "Client", "Camera", "Media", "Video",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "filoscope-bench",
            dependencies: [
                "Generation", "Models", "Engine", "Jobs", "Threads", "Video", "Media",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: strict),

        .testTarget(
            name: "EngineTests", dependencies: ["Engine", "CKernels", "CLinux", "Threads"], swiftSettings: strict),
        .testTarget(name: "ModelsTests", dependencies: ["Models", "Engine", "Video"], swiftSettings: strict),
        .testTarget(
            name: "GenerationTests", dependencies: ["Generation", "Models", "Engine", "Jobs", "Threads", "Video"],
            swiftSettings: strict),
        .testTarget(name: "ThreadsTests", dependencies: ["Threads"], swiftSettings: strict),
        .testTarget(name: "VideoTests", dependencies: ["Video"], swiftSettings: strict),
        .testTarget(name: "MediaTests", dependencies: ["Media", "Video"], swiftSettings: strict),
        .testTarget(
            name: "CameraTests", dependencies: ["Camera", "CVideo4Linux", "Media", "Threads", "Video"],
            swiftSettings: strict),
        .testTarget(name: "JobsTests", dependencies: ["Jobs", "Video", "Threads"], swiftSettings: strict),
        .testTarget(
            name: "ServiceTests", dependencies: ["Service", "Jobs", "Media", "Camera", "Video", "Threads"],
            swiftSettings: strict),
        .testTarget(name: "HostTests", dependencies: ["Host", "Threads"], swiftSettings: strict),
        .testTarget(name: "ClientTests", dependencies: ["Client"], swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu11
)
