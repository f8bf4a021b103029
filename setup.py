"""The one build step pyproject.toml cannot express: `configs/` and `assets/` travel inside the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithShare(build_py):
    """Copies the shared files into `robopolicy/_share`; an editable install reads them where they lie."""

    def run(self):
        """Build the packages, then put the shared files beside them."""
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib, "robopolicy", "_share")
        shutil.rmtree(share, ignore_errors=True)
        share.mkdir(parents=True)
        for folder in ("configs", "assets"):
            if Path(folder).is_dir():
                shutil.copytree(
                    folder, share / folder, ignore=shutil.ignore_patterns("images", "__pycache__")
                )
        shutil.copy("constraints.txt", share)


setup(cmdclass={"build_py": BuildWithShare})
