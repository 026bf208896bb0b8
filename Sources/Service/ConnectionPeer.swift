import CLinux
import Glibc
import Jobs

/// Who is at the other end of a connection: the uid when it connected, as the kernel recorded it.
struct ConnectionPeer: Sendable, Equatable {
    var peer: Peer

    /// `nil` when the kernel doesn't say who it is: such a connection is refused.
    init?(descriptor: Int32, administratorGroup: gid_t?) {
        var uid = uid_t.max
        var gid = gid_t.max
        guard cl_peer_credentials(descriptor, nil, &uid, &gid) == 0 else { return nil }
        var isAdministrator = uid == 0
        if !isAdministrator, let administratorGroup {
            isAdministrator = gid == administratorGroup || Self.groups(descriptor).contains(administratorGroup)
        }
        peer = Peer(uid: uid, isAdministrator: isAdministrator)
    }

    private static func groups(_ descriptor: Int32) -> [gid_t] {
        // NGROUPS_MAX is 65536; who is in more than a thousand groups is no administrator here.
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = cl_peer_groups(descriptor, &groups, Int32(groups.count))
        return count > 0 ? Array(groups[..<Int(count)]) : []
    }

    static func administrators(named name: String) -> gid_t? {
        var entry = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getgrnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        return entry.gr_gid
    }
}
