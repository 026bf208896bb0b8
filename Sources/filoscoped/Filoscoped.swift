import ArgumentParser
import Generation
import Glibc
import Host
import Jobs
import Media
import Service
import Threads

@main
struct Filoscoped: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filoscoped",
        abstract: "Makes videos from words for whoever connects to its socket.",
        discussion: """
            Without --listen it takes the socket that systemd hands over. What a flag does not say is taken from the
            environment (FILOSCOPE_LISTEN, FILOSCOPE_KIOSK, FILOSCOPE_STATE, FILOSCOPE_MODELS, FILOSCOPE_THREADS, FILOSCOPE_CPUS,
            FILOSCOPE_VIDEO_DEVICE, FILOSCOPE_VIDEO_DEVICE_LOOP, FILOSCOPE_CAMERA_DEVICE), then from the JSON5 file.
            """,
        version: Daemon.version
    )

    @Option(help: ArgumentHelp("A JSON5 file.", valueName: "file")) var config: String?
    @Option(help: ArgumentHelp("A Unix socket to make and listen on.", valueName: "path")) var listen: String?
    @Option(help: ArgumentHelp("A second socket, for browsers: docs/kiosk.md.", valueName: "path")) var kiosk: String?
    @Option(help: ArgumentHelp("The folder of jobs and videos.", valueName: "dir")) var state: String?
    @Option(help: ArgumentHelp("The folder of model folders.", valueName: "dir")) var models: String?
    @Option(help: ArgumentHelp("Threads that compute; default: one a processor.", valueName: "N")) var threads: Int?

    @Option(help: ArgumentHelp("CPUs they run on, as 4-7 or 0,2; default: the fastest.", valueName: "list"))
    var cpus: String?
    @Option(help: ArgumentHelp("A video output node that shows what is made, as /dev/video9.", valueName: "path"))
    var videoDevice: String?
    @Flag(help: "Show the last video on it again and again between jobs, instead of its last picture.")
    var videoDeviceLoop = false
    @Option(
        help: ArgumentHelp("A camera that requests may have a picture taken by, as /dev/video0.", valueName: "path"))
    var cameraDevice: String?

    // Not an async command: the runtime would park the first thread with every signal let through, and SIGTERM would kill.
    func run() throws {
        Signals.prepare()
        var flags = Configuration.Flags()
        flags.config = config
        flags.listen = listen
        flags.kiosk = kiosk
        flags.state = state
        flags.models = models
        flags.threads = threads
        flags.cpus = cpus
        flags.videoDevice = videoDevice
        if videoDeviceLoop { flags.videoDeviceLoop = true }
        flags.cameraDevice = cameraDevice
        try waitForTask { [flags] in try await Daemon.run(flags: flags) }
    }
}
